"""Ratings of systems from verdicts, with everything that tells a gap from chance and from the habits of a judge.

A battle is two captions of one image, shown in the orders that were asked for; see `battle_table`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capwright.arrays import Floats
from capwright.evaluation.arena.battle_table import SHARES, Outcomes
from capwright.evaluation.arena.bradley_terry import joined, ordered_pairs
from capwright.evaluation.arena.judgements import Judgement
from capwright.evaluation.arena.ratings import bradley_terry_ratings, elo_ratings, noise, win_rate
from capwright.evaluation.results import Estimate
from capwright.evaluation.stats.bootstrap import bootstrap_sums, intervals, known
from capwright.evaluation.stats.intervals import How
from capwright.scorers.base import ratio
from capwright.types import DataError


@dataclass(frozen=True, slots=True)
class Standing:
    """One system.

    Attributes:
        name: of the system.
        rating: Bradley-Terry with the advantage of the first place taken out: 1000 is the average system, 400 points
            are odds of 10 to 1.
        elo: Elo, the mean over random orders of the same verdicts; its interval holds the chance of one order too.
        win_rate: share of battles won, a tie being half of one, from 0 to 1.
        wins, losses, ties: battles; one that is won in one order and lost in the other is half of each.
        battles: of which the outcome is known.
        unknown: battles of which it is not.
        words: mean length of the captions; None when the verdicts do not say it.
        judge_noise: standard deviation of the rating that comes from the judge's dice, and image_noise: from the choice
            of images. None when nothing was asked twice.
    """

    name: str
    rating: Estimate
    elo: Estimate
    win_rate: Estimate
    wins: float
    losses: float
    ties: float
    battles: float
    unknown: int
    words: float | None
    judge_noise: float | None
    image_noise: float | None


@dataclass(frozen=True, slots=True)
class Meeting:
    """Two systems: `win_rate` is the share of battles that `a` won against `b`, a tie being half of one."""

    a: str
    b: str
    battles: float
    win_rate: Estimate


@dataclass(frozen=True)
class Leaderboard:
    """What an arena found.

    Attributes:
        standings: from the highest rating to the lowest; systems without one come last.
        meetings: every two systems.
        first_place: share of the judge's verdicts with a winner in which the caption shown first won. 0.5 is a fair
            judge; exactly so only where everything was shown in both orders.
        agreement: share of battles shown in both orders in which the judge preferred the same caption, or none, twice.
        repeated: share of questions asked again that got the same answer as at the first time.
        longer: share of verdicts with a winner in which the longer caption won (where lengths differ).
        ties: share of the judge's verdicts that are ties.
        unknown: status -> verdicts that could not be had.
        verdicts, images, repeats: how much was asked.
        judges: signatures.
        warnings: what should be read before the numbers are trusted.
        seed, replicates, level: of the intervals; images are drawn, with all that was asked about them.
    """

    standings: tuple[Standing, ...]
    meetings: tuple[Meeting, ...]
    first_place: Estimate
    agreement: Estimate
    repeated: Estimate
    longer: Estimate
    ties: Estimate
    unknown: dict[str, int]
    verdicts: int
    images: int
    repeats: int
    judges: tuple[str, ...]
    warnings: tuple[str, ...]
    seed: int
    replicates: int
    level: float

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values; what is unknown is null."""
        return asdict(self)


def make_leaderboard(
    judgements: Iterable[Judgement], *, seed: int = 0, replicates: int = 1000, level: float = 0.95
) -> Leaderboard:
    """Ratings, habits of the judge, and intervals.

    Args:
        judgements: from `run_arena` or `read_battles`.
        seed, replicates, level: of the bootstrap over images.

    Intervals of ratings hold for these systems: ratings are relative, and one system more moves them all. One image
    alone has none.

    Raises DataError when there is no verdict, or seed or level cannot be used.
    """
    every = list(judgements)
    if not every:
        raise DataError("there are no verdicts to make a leaderboard of")
    How("percentile", replicates, seed, level)  # refuses what cannot be
    names = sorted({name for one in every for name in (one.first, one.second)})
    table = Outcomes(every, names)
    resamples = replicates if len(table.rows) > 1 else 0  # one image does not tell how images differ
    point, drawn = table.rows.sum(0), bootstrap_sums(table.rows, resamples, seed)
    group = joined(point[: table.width], len(names))

    def with_intervals(of: Callable[[Floats], Floats]) -> list[Estimate]:
        """Numbers made of counts [..., k], of the verdicts and of all resamples of them."""
        return _estimates(of(point), of(drawn), level)

    own, resampled = (bradley_terry_ratings(*table.games_and_wins(of), group) for of in (point, drawn))
    ratings = _estimates(own, resampled, level)
    histories = _estimates(*elo_ratings(table, names, group, seed, resamples), level)
    shares = with_intervals(lambda counts: win_rate(*table.games_and_wins(counts), len(names)))
    judge, image = noise(table, resampled, group, seed, replicates)
    unknown = Counter(name for pair in table.lost for name in pair)
    standings = []
    for k, name in enumerate(names):
        outcomes = table.outcomes(k)
        standings.append(
            Standing(
                name, ratings[k], histories[k], shares[k], *outcomes, sum(outcomes), unknown[name], table.words(name),
                known(judge[k]), known(image[k]),
            )
        )  # fmt: skip
    standings.sort(key=lambda s: (s.rating.value is None, -(s.rating.value or 0.0), s.name))
    return Leaderboard(
        standings=tuple(standings),
        meetings=tuple(_meetings(names, table, with_intervals)),
        unknown=dict(sorted(Counter(one.status for one in every if one.status != "ok").items())),
        verdicts=len(every),
        images=len({one.image for one in every}),
        repeats=1 + max(one.repeat for one in every),
        judges=tuple(sorted({one.judge for one in every if one.judge})),
        warnings=tuple(_warnings(every, names, group, table)),
        seed=seed,
        replicates=replicates,
        level=level,
        **dict(zip(SHARES, with_intervals(table.habits))),
    )


def _meetings(
    names: Sequence[str], table: Outcomes, with_intervals: Callable[[Callable[[Floats], Floats]], list[Estimate]]
) -> list[Meeting]:
    """Every two systems: what the first wins of all that they were shown, in both orders."""
    column = {pair: n for n, pair in enumerate(ordered_pairs(len(names)))}
    pairs = [(column[i, j], column[j, i]) for i, j in combinations(range(len(names)), 2)]
    there, back = (list(places) for places in zip(*pairs))

    def share(counts: Floats) -> Floats:
        games, wins = table.games_and_wins(counts)
        won = wins[..., there] + games[..., back] - wins[..., back]
        return ratio(won, games[..., there] + games[..., back])

    found = zip(combinations(names, 2), pairs, with_intervals(share))
    return [Meeting(a, b, table.battles(*columns), estimate) for (a, b), columns, estimate in found]


def _estimates(values: Floats, drawn: Floats, level: float) -> list[Estimate]:
    """Numbers [m] with the intervals of their resamples [R, m]; none where a number is undefined."""
    low, high = intervals(drawn, level) if len(drawn) else np.full((2, len(values)), np.nan)
    ends = (np.where(np.isfinite(values), end, np.nan) for end in (low, high))
    return [Estimate(*map(known, row)) for row in zip(values, *ends)]


def _warnings(every: Sequence[Judgement], names: Sequence[str], group: NDArray[np.bool_], table: Outcomes) -> list[str]:
    found = []
    apart = [name for name, inside in zip(names, group) if not inside]
    if apart:
        found.append(f"no known battle joins {', '.join(apart)} with the others: no rating")
    lost = sum(one.status != "ok" for one in every)
    if lost:
        found.append(f"{lost:,} of {len(every):,} verdicts are unknown, and {len(table.lost):,} battles with them")
    if len({one.judge for one in every if one.asked}) > 1:
        found.append("verdicts are of several judges, which may differ in what they prefer")
    return found
