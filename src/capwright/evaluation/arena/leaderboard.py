"""Ratings of systems from verdicts, with everything that tells a gap from chance and from the habits of a judge.

A battle is two captions of one image, shown in the orders that were asked for; see `battle_table`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
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
    games, wins = table.rows[:, : table.width].sum(0), table.rows[:, table.width : 2 * table.width].sum(0)
    resamples = replicates if len(table.rows) > 1 else 0  # one image does not tell how images differ
    sums = bootstrap_sums(table.rows, resamples, seed)
    group = joined(games, len(names))

    def columns(of: Floats) -> tuple[Floats, Floats]:
        return of[..., : table.width], of[..., table.width : 2 * table.width]

    ratings = bradley_terry_ratings(games, wins, group)
    drawn = bradley_terry_ratings(*columns(sums), group)
    histories = elo_ratings(table, names, group, seed, resamples)
    shares_won, shares_drawn = (win_rate(*columns(of), len(names)) for of in (table.rows.sum(0), sums))
    judge, image = noise(table, drawn, group, seed, replicates)
    unknown = Counter(name for pair in table.lost for name in pair)
    standings = []
    for k, name in enumerate(names):
        won, lost, tied = table.outcomes(k)
        standings.append(
            Standing(
                name,
                _estimate(ratings[k], drawn[:, k], level),
                _estimate(histories[0][k], histories[1][:, k], level),
                _estimate(shares_won[k], shares_drawn[:, k], level),
                won,
                lost,
                tied,
                won + lost + tied,
                unknown[name],
                table.words(name),
                known(judge[k]),
                known(image[k]),
            )
        )
    standings.sort(key=lambda s: (s.rating.value is None, -(s.rating.value or 0.0), s.name))
    shares = {}
    for number, share in enumerate(SHARES):
        at = 2 * table.width + 2 * number
        value, replicate = (ratio(of[..., at], of[..., at + 1]) for of in (table.rows.sum(0), sums))
        shares[share] = _estimate(float(value), replicate, level)
    return Leaderboard(
        standings=tuple(standings),
        meetings=tuple(_meetings(names, games, wins, columns(sums), table, level)),
        unknown=dict(sorted(Counter(one.status for one in every if one.status != "ok").items())),
        verdicts=len(every),
        images=len({one.image for one in every}),
        repeats=1 + max(one.repeat for one in every),
        judges=tuple(sorted({one.judge for one in every if one.judge})),
        warnings=tuple(_warnings(every, names, group, table)),
        seed=seed,
        replicates=replicates,
        level=level,
        **shares,
    )


def _meetings(
    names: Sequence[str], games: Floats, wins: Floats, drawn: tuple[Floats, Floats], table: Outcomes, level: float
) -> list[Meeting]:
    column = {pair: n for n, pair in enumerate(ordered_pairs(len(names)))}
    found = []
    for i, a in enumerate(names):
        for j in range(i + 1, len(names)):
            there, back = column[i, j], column[j, i]

            def share(n: Floats, w: Floats, there: int = there, back: int = back) -> Floats:
                return ratio(w[..., there] + n[..., back] - w[..., back], n[..., there] + n[..., back])

            estimate = _estimate(float(share(games, wins)), share(*drawn), level)
            found.append(Meeting(a, names[j], table.battles(there, back), estimate))
    return found


def _estimate(value: float, drawn: Floats, level: float) -> Estimate:
    if not np.isfinite(value) or not len(drawn):
        return Estimate(known(value), None, None)
    low, high = intervals(drawn[:, None], level)
    return Estimate(float(value), known(low[0]), known(high[0]))


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
