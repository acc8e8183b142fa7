"""Does a score say what people say? Agreement with human judgements, with intervals.

Published correlations of one metric with one set of ratings differ because protocols differ: the mean rating of a
caption or every single rating, tau-b or tau-c, ties counted or not. So the protocol is a part of every result's
signature. Captions of one image are judged together, therefore whole images are resampled: give `clusters`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capwright.arrays import Floats
from capwright.evaluation.config import with_settings
from capwright.evaluation.stats.bootstrap import (
    Rows,
    bootstrap_sums,
    cluster_codes,
    draw_weights,
    intervals,
    known,
    sum_by_cluster,
)
from capwright.evaluation.stats.correlation import accuracy, kendall, pair_counts, pairwise_accuracy, pearson, spearman
from capwright.evaluation.stats.intervals import How, estimate
from capwright.evaluation.stats.significance import Difference, difference_of
from capwright.scorers.base import write_signature
from capwright.types import DataError

#: Rank correlations and Pearson's.
CORRELATIONS = ("tau-b", "tau-c", "spearman", "pearson")
COEFFICIENTS = (*CORRELATIONS, "pairwise", "within")
AGGREGATIONS = ("mean", "median", "each")
TIES = ("half", "equal")

_VERSION = "1"
#: Cells of weights [replicates, judgements] held at a time.
_CELLS = 1_000_000

#: A number a caption; None or NaN is unknown.
Scores = Sequence[float | None] | Floats


@dataclass(frozen=True, slots=True)
class Agreement:
    """How well a score agrees with people.

    Attributes:
        coefficient: one of `COEFFICIENTS`, or "preference".
        value, low, high: the coefficient and its interval; None when undefined.
        judgements: numbers that were compared: captions, single ratings ("each") or judged pairs.
        clusters: images (or other clusters) that were resampled.
        unknown: captions or pairs left out because a score or every rating is unknown.
        signature: the protocol.
    """

    coefficient: str
    value: float | None
    low: float | None
    high: float | None
    judgements: int
    clusters: int
    unknown: int
    signature: str

    def to_json(self) -> dict[str, Any]:
        """All attributes by name."""
        return asdict(self)


def agreement(
    scores: Scores,
    ratings: Sequence[Any],
    clusters: Sequence[Any] | None = None,
    aggregation: str = "mean",
    *,
    coefficient: str = "tau-b",
    ties: str = "half",
    **settings: Any,
) -> Agreement:
    """Agreement of a score with ratings of the same captions.

    Args:
        scores: one a caption.
        ratings: for each caption a number, or several numbers by several people (not equally many for all).
        clusters: for each caption what it is drawn together with, the id of its image; every caption alone by default.
        aggregation: of several ratings of a caption: "mean", "median", or "each": every rating is a judgement of its
            own against the same score, and two ratings of one caption are a pair that is tied in the score.
        coefficient: "tau-b" and "tau-c" (Kendall, Stuart), "spearman" and "pearson" lie between -1 and 1. "pairwise" is
            the share of all pairs of captions that the score orders as people do, "within" that of pairs of captions
            of the same cluster; both lie between 0 and 1.
        ties: for "pairwise" and "within": see `correlation.accuracy`. "half": pairs that people tie are left out, a tie
            of the score is half right. "equal": a tie is right where people tie too (arXiv 2305.14324).
        settings: `replicates`, `seed`, `level` of the percentile interval. "within" is a ratio of sums over clusters,
            so its interval is that of the jackknife (see `stats.intervals.How`).

    Raises:
        DataError: lists of different lengths, a number that is infinite, no caption with both, or an unknown option.

    >>> agreement([12, 2, 1, 12, 2], [1, 4, 7, 1, 0], coefficient="tau-c").value
    -0.48
    """
    judged = _Judged.of([scores], ratings, clusters, aggregation)
    (x,) = judged.scores
    how = with_settings(How("jackknife" if coefficient == "within" else "percentile"), settings)
    if coefficient == "within":
        _check(ties, TIES, "ties")
        counts = _counts_within(x, judged.ratings, judged.codes, judged.clusters)
        ends = _share(counts, ties, how)
    else:
        ends = _estimate(_replicates(judged, x, coefficient, ties, how), how.level)
    own = ties if coefficient in ("pairwise", "within") else None
    return _found(coefficient, ends, judged, how, ratings=aggregation, ties=own)


def compare_agreement(
    a: Scores,
    b: Scores,
    ratings: Sequence[Any],
    clusters: Sequence[Any] | None = None,
    aggregation: str = "mean",
    *,
    coefficient: str = "tau-b",
    ties: str = "half",
    **settings: Any,
) -> Difference:
    """Does score b agree better with people than score a? Paired bootstrap over clusters of captions that have both.

    Arguments and errors as `agreement`; the difference is that of b minus that of a.
    """
    judged = _Judged.of([a, b], ratings, clusters, aggregation)
    how = with_settings(How("percentile"), settings)
    first, second = (_replicates(judged, x, coefficient, ties, how) for x in judged.scores)
    return difference_of(second[0] - first[0], second[1:] - first[1:], how.level)


def pairwise_agreement(
    scores_a: Scores,
    scores_b: Scores,
    preferences: Sequence[Any],
    clusters: Sequence[Any] | None = None,
    *,
    ties: str = "half",
    tolerance: float = 0.0,
    **settings: Any,
) -> Agreement:
    """Share of side-by-side judgements with which a score agrees, between 0 and 1.

    Args:
        scores_a, scores_b: scores of the two captions of each pair; None is unknown.
        preferences: above 0 where people find a better, below 0 where b, 0 for a tie; None is unknown. Several
            judgements of a pair are several entries.
        clusters: for each pair what it is drawn together with, the id of its image; every pair alone by default.
        ties: "half": pairs that people tie are left out, a tie of the scores is half right, and chance is one half.
            "equal": all pairs count, a tie is right where people tie too.
        tolerance: scores that differ by no more than this tie.
        settings: `replicates`, `seed`, `level` of the interval, which is that of the jackknife.

    Raises:
        DataError: as `agreement`.
    """
    _check(ties, TIES, "ties")
    judged = _Judged.of([scores_a, scores_b], preferences, clusters, "mean")
    gain = judged.scores[0] - judged.scores[1]
    said, wanted = np.where(np.abs(gain) <= tolerance, 0.0, np.sign(gain)), np.sign(judged.ratings)
    alike, tied, undecided = said * wanted, said == 0, wanted == 0
    pairs = [alike > 0, alike < 0, tied & ~undecided, undecided & ~tied, tied & undecided]  # as `pair_counts` has them
    how = with_settings(How(), settings)
    ends = _share(sum_by_cluster(np.stack(pairs, axis=1).astype(np.float64), judged.codes), ties, how)
    return _found("preference", ends, judged, how, ties=ties, tolerance=tolerance or None)


@dataclass(frozen=True, slots=True)
class _Judged:
    """Scores and ratings that are known, one entry a judgement.

    Attributes:
        scores: one or two arrays [n].
        ratings: [n].
        codes: [n], the number of the cluster.
        clusters: how many there are.
        unit: what is resampled, "caption" or "cluster".
        unknown: entries left out.
    """

    scores: list[Floats]
    ratings: Floats
    codes: NDArray[np.int64]
    clusters: int
    unit: str
    unknown: int

    @staticmethod
    def of(scores: Sequence[Scores], ratings: Sequence[Any], clusters: Sequence[Any] | None, how: str) -> _Judged:
        _check(how, AGGREGATIONS, "aggregation")
        columns = [_numbers(one, "score") for one in scores]
        groups = [_ratings(one, place) for place, one in enumerate(ratings)]
        lengths = [len(groups), *map(len, columns), *([] if clusters is None else [len(clusters)])]
        if len(set(lengths)) > 1:
            raise DataError(
                "scores, ratings and clusters must belong to the same captions, one by one, but their numbers are "
                f"{', '.join(map(str, sorted(set(lengths))))}"
            )
        known_scores = np.logical_and.reduce([np.isfinite(column) for column in columns])
        has_both = [place for place, group in enumerate(groups) if len(group) and known_scores[place]]
        if not has_both:
            raise DataError("no caption has a score and a rating; are these scores and ratings of the same captions?")
        if how == "each":
            entries = np.array([place for place in has_both for _ in groups[place]])
            numbers = np.concatenate([groups[place] for place in has_both])
        else:
            entries = np.array(has_both)
            middle = np.mean if how == "mean" else np.median
            numbers = np.array([middle(groups[place]) for place in has_both], dtype=np.float64)
        codes = cluster_codes(entries if clusters is None else [clusters[place] for place in entries])
        return _Judged(
            scores=[column[entries] for column in columns],
            ratings=numbers,
            codes=codes,
            clusters=int(codes.max()) + 1,
            unit="caption" if clusters is None else "cluster",
            unknown=len(groups) - len(has_both),
        )


def _replicates(judged: _Judged, x: Floats, coefficient: str, ties: str, how: How) -> Floats:
    """The coefficient of the data, then that of each replicate: [1 + B]."""
    _check(coefficient, COEFFICIENTS, "coefficient")
    _check(ties, TIES, "ties")
    y, codes, count = judged.ratings, judged.codes, judged.clusters
    replicates = how.replicates if count > 1 else 0  # a single cluster cannot be resampled: an interval without width
    if coefficient == "within":
        counts = _counts_within(x, y, codes, count)
        sums = np.concatenate([counts.sum(0, keepdims=True), bootstrap_sums(counts, replicates, how.seed)])
        return accuracy(tuple(sums.T), ties)
    measure: dict[str, Callable[[], Callable[[Rows], Floats]]] = {
        "tau-b": lambda: kendall(x, y, "b"),
        "tau-c": lambda: kendall(x, y, "c"),
        "spearman": lambda: spearman(x, y),
        "pearson": lambda: pearson(x, y),
        "pairwise": lambda: pairwise_accuracy(x, y, ties),
    }
    of = measure[coefficient]()
    found = [of(np.ones((1, len(x))))]
    found += [of(weights[:, codes]) for weights in _blocks(count, replicates, how.seed, len(x))]
    return np.concatenate(found)


def _blocks(count: int, replicates: int, seed: int, judgements: int) -> Iterator[Rows]:
    """Weights of clusters, in blocks small enough to be spread over the judgements."""
    step = max(1, _CELLS // judgements)
    for _, weights in draw_weights(count, replicates, seed):
        for first in range(0, len(weights), step):
            yield weights[first : first + step]


def _counts_within(x: Floats, y: Floats, codes: NDArray[np.int64], count: int) -> Rows:
    """Pairs of entries of the same cluster: the five counts of `pair_counts` for each cluster, [C, 5]."""
    order = np.argsort(codes, kind="stable")
    edges = np.searchsorted(codes[order], np.arange(count + 1))
    counts = np.zeros((count, 5))
    for cluster in range(count):
        members = order[edges[cluster] : edges[cluster + 1]]
        if len(members) > 1:
            found = pair_counts(x[members], y[members])(np.ones((1, len(members))))
            counts[cluster] = [value[0] for value in found]
    return counts


def _estimate(drawn: Floats, level: float) -> tuple[float | None, float | None, float | None]:
    value = known(drawn[0])
    low, high = intervals(drawn[1:, None], level)
    return (None, None, None) if value is None else (value, known(low[0]), known(high[0]))


def _share(counts: Rows, ties: str, how: How) -> tuple[float | None, float | None, float | None]:
    """The accuracy of counts of pairs [C, 5] with its interval."""
    found = estimate(
        counts, lambda sums: accuracy(tuple(np.moveaxis(sums, -1, 0)), ties)[..., None], np.array([[0.0, 1.0]]), how
    )
    return known(found.value[0]), known(found.low[0]), known(found.high[0])


def _found(
    coefficient: str, ends: tuple[float | None, float | None, float | None], judged: _Judged, how: How, **fields: object
) -> Agreement:
    """A coefficient and its interval, with the signature of the protocol, which has these `fields`."""
    signature = write_signature(
        coefficient,
        **fields,
        n=len(judged.ratings),
        clusters=judged.clusters,
        ci=how.name,
        unit=judged.unit,
        seed=how.seed if how.method != "jackknife" else None,
        v=_VERSION,
    )
    return Agreement(coefficient, *ends, len(judged.ratings), judged.clusters, judged.unknown, signature)


def _numbers(values: Scores, what: str) -> Floats:
    numbers = np.array(values, dtype=np.float64)
    if numbers.ndim != 1:
        raise DataError(f"there must be one {what} a caption, not an array of shape {numbers.shape}")
    for place in np.flatnonzero(np.isinf(numbers))[:1]:
        raise DataError(f"{what} {place + 1} is infinite; give a number, or None where it is unknown")
    return numbers


def _ratings(one: Any, place: int) -> Floats:
    """The known ratings of a caption."""
    try:
        numbers = np.atleast_1d(np.array(one, dtype=np.float64))
    except (TypeError, ValueError):
        raise DataError(f"ratings of caption {place + 1} are {one!r}; they must be numbers") from None
    if np.isinf(numbers).any():
        raise DataError(f"a rating of caption {place + 1} is infinite; give a number, or None where it is unknown")
    return numbers[np.isfinite(numbers)].reshape(-1)


def _check(value: str, known_values: Sequence[str], what: str) -> None:
    if value not in known_values:
        raise DataError(f"{what} must be one of {', '.join(known_values)}, not {value!r}")
