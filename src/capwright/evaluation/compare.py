"""What two evaluations differ in: paired tests on the images that both know, corrected for their number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capwright.evaluation.results import Evaluation, Measured
from capwright.evaluation.stats.bootstrap import Rows, known, sum_by_cluster
from capwright.evaluation.stats.intervals import join, ranges_of
from capwright.evaluation.stats.significance import (
    TRIALS,
    Difference,
    detectable_difference,
    higher_same_lower,
    holm,
    paired_differences,
)
from capwright.types import DataError, ScorerError

_POWER = 0.8


@dataclass(frozen=True, slots=True)
class Comparison:
    """Paired test of two systems: `difference` is b minus a, on the `images` that are known to both.

    Attributes:
        a, b: names of the systems.
        score: "scorer.output".
        difference: of the scores; None when one of them is undefined.
        low, high: its interval, made as those of the scores; None when undefined.
        p: two-sided p-value of "no difference"; None when undefined.
        images: that both know.
        p_holm: p corrected for all comparisons that were read together, see `adjust`; None before that.
        detectable: the smallest true difference that so many images find with a power of 80 % at the level of the
            interval; None when undefined.
        wins, ties, losses: on how many images b scores higher, the same, lower, whether higher is better or not; None
            for scores that a single image does not have.
        signature: what the numbers depend on: scorer, interval, test, what was drawn, seed.
    """

    a: str
    b: str
    score: str
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    images: int
    p_holm: float | None = None
    detectable: float | None = None
    wins: int | None = None
    ties: int | None = None
    losses: int | None = None
    signature: str = ""

    def to_json(self) -> dict[str, Any]:
        """One row of "comparisons" in summary.json."""
        return {slot: getattr(self, slot) for slot in self.__slots__}


def compare(
    a: Evaluation,
    b: Evaluation,
    scores: Iterable[str] | None = None,
    *,
    test: str = "randomization",
    trials: int = TRIALS,
) -> list[Comparison]:
    """Paired test of b against a on the images that both know, one Comparison a score.

    Args:
        a, b: evaluations of the same samples in the same order with the same scorers and contexts.
        scores: "scorer.output" names such as "tts.micro" or "tts.tier:rare"; all by default.
        test: what p is from, "randomization" or "bootstrap" (see `significance.paired_differences`).
        trials: random swaps of the randomization test. No p-value is below 1 / (trials + 1).

    Clusters, and how intervals are made, are those of a. Raises DataError when the samples or their clusters differ,
    ScorerError when the signatures do.
    """
    _check_same_samples(a, b)
    wanted = None if scores is None else list(scores)
    shared: dict[bytes, list[str]] = {}
    for name, left in a.scores.items():
        right = b.scores.get(name)
        if right is None or (wanted is not None and not any(score.startswith(f"{name}.") for score in wanted)):
            continue
        _check_same_ruler(name, left, right)
        shared.setdefault((left.known & right.known).tobytes(), []).append(name)
    found: dict[str, Comparison] = {}
    for names in shared.values():
        for comparison in _compare_together(a, b, names, test, trials):
            found[comparison.score] = comparison
    for score in wanted or ():
        if score not in found:
            there = [f"{name}.{output}" for name in a.scores if name in b.scores for output in a.scores[name].estimates]
            raise ScorerError(f"there is no score {score!r} in both evaluations; there are {', '.join(there)}")
    in_order = [f"{name}.{output}" for name, measured in a.scores.items() for output in measured.context.outputs]
    return [found[score] for score in (in_order if wanted is None else wanted) if score in found]


def adjust(comparisons: Iterable[Comparison]) -> list[Comparison]:
    """The same comparisons with `p_holm`: Holm's correction over all of them (scores x systems).

    Give it everything that will stand in one table or be read for one claim, and nothing else. Comparisons without a
    p-value do not count. The smallest corrected p that is possible is the smallest p times the number of comparisons:
    a bootstrap test with 1,000 replicates (p of at least 2 / 1001) can show nothing at 5 % among more than 25, a
    randomization test with 10,000 trials can among 500.
    """
    rows = list(comparisons)
    return [replace(row, p_holm=p) for row, p in zip(rows, holm([row.p for row in rows]))]


def _compare_together(
    a: Evaluation, b: Evaluation, names: Sequence[str], test: str, trials: int
) -> Iterable[Comparison]:
    """Scorers that know the same images are resampled and swapped in one matrix product."""
    pairs = [(a.scores[name], b.scores[name]) for name in names]
    both = pairs[0][0].known & pairs[0][1].known
    left = np.concatenate([one.rows[both] for one, _ in pairs], axis=1)
    right = np.concatenate([other.rows[both] for _, other in pairs], axis=1)
    if a.clusters is not None:
        labels = [a.clusters[i] for i in np.flatnonzero(both)]
        left, right = (sum_by_cluster(rows, labels) for rows in (left, right))
    finalize = join([one.scorer for one, _ in pairs], [one.rows.shape[1] for one, _ in pairs])
    ranges = np.concatenate([ranges_of(one.scorer, one.context) for one, _ in pairs])
    differences = iter(
        paired_differences(
            left, right, finalize, a.replicates, a.seed, a.level, test, trials, method=a.method, ranges=ranges
        )
    )
    tested = f"{test}{trials if test == 'randomization' else a.replicates}"
    how = f"paired:{a.how.name}|test:{tested}|unit:{a.unit}|seed:{a.seed}"
    for name, (one, other) in zip(names, pairs):
        signature = f"{one.scorer.signature(one.context)}|{how}"
        items = None if one.scorer.spec.unit == "set" else _items(one, other, both)
        for column, output in enumerate(one.context.outputs):
            d = next(differences)
            wins, ties, losses = (None,) * 3 if items is None else higher_same_lower(*(v[:, column] for v in items))
            yield Comparison(
                a=a.name,
                b=b.name,
                score=f"{name}.{output}",
                difference=d.difference,
                low=d.low,
                high=d.high,
                p=d.p,
                images=int(both.sum()),
                detectable=_detectable(d, a.level),
                wins=wins,
                ties=ties,
                losses=losses,
                signature=signature,
            )


def _items(one: Measured, other: Measured, both: NDArray[np.bool_]) -> tuple[Rows, Rows]:
    return one.scorer.finalize(one.rows[both]), one.scorer.finalize(other.rows[both])


def _detectable(d: Difference, level: float) -> float | None:
    """None when unknown, and when no image changed the difference: a spread of 0 says nothing about other images."""
    if not d.error:
        return None
    return known(detectable_difference(d.error, 1 - level, _POWER))


def _check_same_samples(a: Evaluation, b: Evaluation) -> None:
    names = f"{a.name or 'a'} and {b.name or 'b'}"
    if a.ids != b.ids:
        raise DataError(f"{names} were measured on different samples; evaluate both on the same split")
    if a.clusters != b.clusters:
        raise DataError(f"{names} were measured with different clusters; evaluate both with the same `cluster`")


def _check_same_ruler(name: str, left: Measured, right: Measured) -> None:
    if left.scorer.signature(left.context) != right.scorer.signature(right.context) or (
        left.context.fingerprint != right.context.fingerprint
    ):
        raise ScorerError(
            f"{name}: cannot compare {left.signature} with {right.signature}; evaluate both with the contexts of "
            "one prepare_scorers()"
        )
