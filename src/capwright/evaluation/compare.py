"""What two evaluations differ in: paired tests on the images that both know, corrected for their number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

from capwright.evaluation.results import Evaluation, Measured, score_key
from capwright.evaluation.stats.bootstrap import known
from capwright.evaluation.stats.intervals import gather, join
from capwright.evaluation.stats.significance import (
    TRIALS,
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
        """One row of "comparisons" in files; `score` as it is called there ("ciderD", "tts.micro")."""
        return asdict(self) | {"score": score_key(*self.score.split(".", 1))}


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


def against_first(evaluations: Sequence[Evaluation], test: str = "randomization") -> tuple[Comparison, ...]:
    """Every score of every system against the first; p-values are corrected for their number among claims.

    Claims are headlines of scorers that have a better direction. A length claims nothing, and the other numbers of a
    scorer (kinds of questions, tiers, shares) explain its headline: corrected with the rest, a few scorers with many
    parts would leave nothing of any p.
    """
    first, *others = evaluations
    comparisons = [c for other in others for c in compare(first, other, test=test)]
    specs = {name: one.scorer.spec for name, one in first.scores.items()}
    heads = {f"{name}.{spec.headline}" for name, spec in specs.items() if spec.higher_is_better is not None}
    corrected = iter(adjust(c for c in comparisons if c.score in heads))
    return tuple(next(corrected) if c.score in heads else c for c in comparisons)


def compare_headlines(
    evaluations: Sequence[Evaluation], pairs: Iterable[tuple[str, str]], test: str = "randomization"
) -> tuple[Comparison, ...]:
    """The headline of each scorer for pairs of systems (a, b), each test for itself."""
    found = {one.name: one for one in evaluations}
    heads = [f"{name}.{one.scorer.spec.headline}" for name, one in evaluations[0].scores.items()]
    return tuple(c for a, b in dict.fromkeys(pairs) for c in compare(found[a], found[b], heads, test=test))


def stages_in_order(names: Sequence[str], starts: Mapping[str, str] | None = None) -> list[tuple[str, str]]:
    """Pairs to compare: every stage with the one before, with the one it started from, and with the first."""
    return [*pairwise(names), *((start, name) for name, start in (starts or {}).items())] + [
        (names[0], name) for name in names[2:]
    ]


def _compare_together(
    a: Evaluation, b: Evaluation, names: Sequence[str], test: str, trials: int
) -> Iterable[Comparison]:
    """Scorers that know the same images are resampled and swapped in one matrix product."""
    ones, others = ([e.scores[name] for name in names] for e in (a, b))
    both = ones[0].known & others[0].known
    left, right = (gather([m.rows for m in measured], both, a.clusters) for measured in (ones, others))
    finalize, ranges = join([m.scorer for m in ones], [m.context for m in ones], [m.rows for m in ones])
    differences = iter(paired_differences(left, right, finalize, a.how, test=test, trials=trials, ranges=ranges))
    tested = f"{test}{trials if test == 'randomization' else a.replicates}"
    how = f"paired:{a.how.name}|test:{tested}|unit:{a.unit}|seed:{a.seed}"
    for name, one, other in zip(names, ones, others):
        signature = f"{one.scorer.signature(one.context)}|{how}"
        items = None
        if one.scorer.spec.unit != "set":
            items = [m.scorer.finalize(m.rows[both]) for m in (one, other)]
        for column, output in enumerate(one.context.outputs):
            d = next(differences)
            # a spread of 0 (no image changed the difference) says nothing about other images
            detectable = known(detectable_difference(d.error, 1 - a.level, _POWER)) if d.error else None
            counts: tuple[int | None, int | None, int | None] = (None, None, None)
            if items is not None:
                counts = higher_same_lower(*(values[:, column] for values in items))
            yield Comparison(
                a.name, b.name, f"{name}.{output}", d.difference, d.low, d.high, d.p, int(both.sum()), None,
                detectable, *counts, signature,
            )  # fmt: skip


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
