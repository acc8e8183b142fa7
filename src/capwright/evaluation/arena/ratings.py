"""From counted verdicts to ratings of systems, for the verdicts themselves and for all resamples of them at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from capwright.arrays import Floats
from capwright.evaluation.arena.battle_table import Outcomes
from capwright.evaluation.arena.bradley_terry import bradley_terry, elo, ordered_pairs, rating
from capwright.evaluation.stats.bootstrap import cluster_codes, draw_weights
from capwright.scorers.base import ratio

#: Histories that the Elo rating is averaged over.
_HISTORIES = 100
#: Cells of a table of histories held at a time (128 MB).
_CELLS = 32_000_000


def noise(
    table: Outcomes, drawn: Floats, group: NDArray[np.bool_], seed: int, replicates: int
) -> tuple[Floats, Floats]:
    """Standard deviations [K] of ratings: from the judge's dice alone, and from the choice of images alone.

    A bootstrap on two levels. Images drawn with all their verdicts vary by both; images kept, and the repeats of
    each question drawn anew, vary by the dice alone. m repeats that are drawn from themselves vary by (m - 1) / m
    of what they should, so what they differ by from their mean is stretched by the root of m / (m - 1). What is
    left of the first variance without the second is the images'. NaN when nothing was asked twice.
    """
    none = np.full(len(group), np.nan)
    cells = cluster_codes(list(zip(table.image.tolist(), table.pair.tolist())))
    sizes = np.bincount(cells) if len(cells) else np.zeros(0, dtype=np.int64)
    if replicates < 2 or not len(sizes) or sizes.max() < 2:
        return none, none
    scores = np.zeros((len(sizes), sizes.max()))
    pair_of = np.zeros(len(sizes), dtype=np.int64)
    order = np.argsort(cells, kind="stable")
    scores[cells[order], np.arange(len(cells)) - np.repeat(np.cumsum(sizes) - sizes, sizes)] = table.score[order]
    pair_of[cells] = table.pair
    means = scores.sum(1) / sizes
    stretch = np.sqrt(sizes / np.maximum(sizes - 1, 1))
    games = np.bincount(pair_of, weights=sizes, minlength=table.width)
    rng = np.random.default_rng([seed, 1])
    cells_of = np.arange(len(sizes))
    noisy = np.zeros((replicates, table.width))
    for row in noisy:
        total = np.zeros(len(sizes))
        for turn in range(sizes.max()):
            chosen = scores[cells_of, (rng.random(len(sizes)) * sizes).astype(np.int64)]
            total += np.where(turn < sizes, chosen, 0.0)
        total = sizes * means + stretch * (total - sizes * means)
        row[:] = np.bincount(pair_of, weights=total, minlength=table.width)
    by_judge = bradley_terry_ratings(np.tile(games, (replicates, 1)), np.clip(noisy, 0, games), group).var(0, ddof=1)
    by_both = drawn.var(0, ddof=1) if len(drawn) > 1 else none
    return np.sqrt(by_judge), np.sqrt(np.maximum(by_both - by_judge, 0))


def bradley_terry_ratings(games: Floats, wins: Floats, group: NDArray[np.bool_]) -> Floats:
    """Bradley-Terry ratings [..., K]; NaN outside the group that games join."""
    strengths, _ = bradley_terry(games, wins, len(group))
    found = np.full(strengths.shape, np.nan)
    inside = strengths[..., group]
    found[..., group] = rating(inside - inside.mean(-1, keepdims=True)) if group.any() else inside
    return found


def elo_ratings(
    table: Outcomes, names: Sequence[str], group: NDArray[np.bool_], seed: int, replicates: int
) -> tuple[Floats, Floats]:
    """Elo [K], the mean of many histories of the verdicts; and [replicates, K], one history of each resample."""
    rng = np.random.default_rng([seed, 2])
    count = len(table.score)
    games = np.arange(count, dtype=np.int32)

    def play(histories: list[NDArray[np.int32]]) -> Floats:
        orders = np.full((len(histories), max(map(len, histories))), count, dtype=np.int32)
        for row, history in zip(orders, histories):
            row[: len(history)] = history
        ratings = elo(table.first, table.second, table.score, orders, len(names))
        return np.where(group, ratings, np.nan)

    if not group.any():
        return np.full(len(names), np.nan), np.full((replicates, len(names)), np.nan)
    point = play([rng.permutation(games) for _ in range(_HISTORIES)]).mean(0)
    found = [np.zeros((0, len(names)))]
    at_once = max(1, _CELLS // count)
    for _, weights in draw_weights(len(table.rows), replicates, seed):
        for start in range(0, len(weights), at_once):
            part = weights[start : start + at_once].astype(np.int64)
            found.append(play([rng.permutation(np.repeat(games, times[table.image])) for times in part]))
    return point, np.concatenate(found)


def win_rate(games: Floats, wins: Floats, systems: int) -> Floats:
    """Share of verdicts won [..., K], ties half."""
    won, played = np.zeros((2, *games.shape[:-1], systems))
    for column, (first, second) in enumerate(ordered_pairs(systems)):
        won[..., first] += wins[..., column]
        won[..., second] += games[..., column] - wins[..., column]
        for k in (first, second):
            played[..., k] += games[..., column]
    return ratio(won, played)
