"""Do two systems differ? Paired tests on the same images, corrected for many tests, and what they could have found.

Both tests work on paired rows: a [C, k] and b [C, k] are the statistics of the same C clusters (images) by two systems.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capwright.evaluation.stats.bootstrap import _CELLS, MIN_DEFINED, Rows, bootstrap_sums, intervals, known, weigher
from capwright.evaluation.stats.intervals import How, estimate, ranges_of_differences
from capwright.evaluation.stats.jackknife import Finalize, Floats

TESTS = ("randomization", "bootstrap")
#: Random swaps of a randomization test: enough that a p-value survives the correction for hundreds of tests.
TRIALS = 10_000

_NORMAL = NormalDist()
#: Two differences closer than this share of the scores are the same: sums in another order differ by rounding.
_SAME = 1e-10


@dataclass(frozen=True, slots=True)
class Difference:
    """Score of b minus score of a, on the images known to both.

    Attributes:
        difference: of the point estimates; None when one of them is undefined.
        low, high: its interval; None when undefined.
        p: two-sided p-value of "no difference"; None when undefined.
        error: standard error of the difference; None when undefined.
    """

    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    error: float | None = None


def paired_differences(
    a: Rows,
    b: Rows,
    finalize: Finalize,
    how: How | None = None,
    *,
    test: str = "randomization",
    trials: int = TRIALS,
    ranges: Floats | None = None,
    **settings: Any,
) -> list[Difference]:
    """Difference, interval and test of two systems: rows [C, k] of the same C clusters; one Difference an output.

    The interval is that of `intervals.estimate` for the difference: by `how`, or what `settings` name of it
    (`replicates`, `seed`, `level`, `method`); `ranges` are those of the scores [m, 2]. Both systems lose, or are
    resampled with, the same images. The p-value is that of `test`:

    * "randomization": see `randomization_test`, with `trials`.
    * "bootstrap": 2 * min(share of replicates with b - a <= 0, share with b - a >= 0), each share with one added to
      numerator and denominator, at most 1. For few images it finds differences of equal systems too often.

    The test and an interval by another way may disagree where p is close to 1 - level; the test is what decides. Fewer
    than two clusters give an interval and p of None.
    """
    if test not in TESTS:
        raise ValueError(f"test must be one of {', '.join(TESTS)}, not {test!r}")
    _check_pair(a, b)
    how = replace(how or How(), **settings)
    width = a.shape[1]

    def gain(sums: Rows) -> Rows:
        return finalize(sums[..., width:]) - finalize(sums[..., :width])

    both = np.concatenate([a, b], axis=1)
    limits = None if ranges is None else ranges_of_differences(ranges)
    found = estimate(both, gain, limits, how)
    if test == "randomization":
        p_values = randomization_test(a, b, finalize, trials, how.seed)
    else:
        drawn = gain(bootstrap_sums(both, how.replicates if len(a) > 1 else 0, how.seed))
        p_values = np.array([_bootstrap_p(drawn[:, i]) for i in range(drawn.shape[1])])
        p_values[~np.isfinite(found.value)] = np.nan
    numbers = zip(found.value, found.low, found.high, p_values, found.error)
    return [Difference(*(known(number) for number in row)) for row in numbers]


def difference_of(point: float, drawn: NDArray[np.float64], level: float = 0.95) -> Difference:
    """The difference `point` of two scores with what its paired bootstrap replicates [B] say."""
    (low,), (high,) = intervals(drawn[:, None], level)
    if not (np.isfinite(point) and np.isfinite(low)):
        return Difference(known(point), None, None, None)
    defined = drawn[np.isfinite(drawn)]
    error = known(defined.std(ddof=1)) if len(defined) > 1 else None
    return Difference(float(point), float(low), float(high), known(_bootstrap_p(drawn)), error)


def randomization_test(
    a: Rows, b: Rows, finalize: Finalize, trials: int = TRIALS, seed: int = 0
) -> NDArray[np.float64]:
    """Two-sided p-values [m] of the approximate randomization test (Noreen 1989): rows [C, k] of the same clusters.

    If the systems do not differ, their captions of an image can be swapped. Each trial swaps them on a random half
    of the clusters; p is the share of trials whose difference is larger than the one found, and half of those in which
    it is as large (mid-p; Lancaster 1961, J. Am. Stat. Assoc. 56), with one added to numerator and denominator. So p is
    never below 1 / (trials + 1). Of few counts many swaps differ as much as the data; counted in full, they would make
    the test find too little. The data themselves and their mirror image, 2 of 2^C ways to swap, count in full: with few
    clusters, half of them would be too little. NaN where the difference is undefined in the data or in more than 5 % of
    the trials, and with fewer than two clusters. 1 where there is no difference.
    """
    _check_pair(a, b)
    total_a, total_b, weigh = a.sum(0), b.sum(0), weigher(b - a, len(a))
    score_a, score_b = finalize(total_a), finalize(total_b)
    found = np.full(len(score_a), np.nan)
    if len(a) < 2 or trials < 1:
        return found
    moved = np.concatenate([weigh(swaps) for swaps in _draw_swaps(len(a), trials, seed)])
    drawn = np.abs(finalize(total_b - moved) - finalize(total_a + moved))
    point = np.abs(score_b - score_a)
    for i in np.flatnonzero(np.isfinite(point)):
        values = drawn[np.isfinite(drawn[:, i]), i]
        if len(values) < MIN_DEFINED * trials:
            continue
        near = _SAME * max(abs(score_a[i]), abs(score_b[i]))
        larger, as_large = np.count_nonzero(values > point[i] + near), np.count_nonzero(values >= point[i] - near)
        ties = as_large - larger
        own = min(ties, len(values) * 0.5 ** (len(a) - 1))
        found[i] = (1 + larger + (ties + own) / 2) / (1 + len(values)) if point[i] > near else 1.0
    return found


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction (Holm 1979): p-values that may be read together, in the order given.

    The chance that any test of a true "no difference" has a corrected p below 0.05 is at most 5 %, however the tests
    depend on each other. Unknown p-values stay None and do not count as tests.

    >>> holm([0.01, None, 0.04, 0.03])
    [0.03, None, 0.06, 0.06]
    """
    order = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, place) in enumerate(order):
        if not 0 <= p <= 1:
            raise ValueError(f"a p-value lies between 0 and 1, not {p}")
        highest = max(highest, min(1.0, (len(order) - rank) * p))
        corrected[place] = highest
    return corrected


def detectable_difference(
    error: float, alpha: float = 0.05, power: float = 0.8, *, measured_on: int = 1, images: int = 1
) -> float:
    """The smallest true difference that a two-sided test at `alpha` finds with probability `power`.

    (z(1 - alpha / 2) + z(power)) * error, the normal approximation: 2.8 standard errors by default. A difference that
    was not found may well be there when it is smaller than this.

    Args:
        error: standard error of the paired difference (`Difference.error`).
        alpha, power: between 0 and 1.
        measured_on, images: to plan, give both: `error` was measured on so many images, and this is what another
            number of `images` would detect; the error falls with the root of the number.

    >>> round(detectable_difference(0.5, measured_on=1000, images=4000), 2)
    0.7
    """
    if not (0 < alpha < 1 and 0 < power < 1):
        raise ValueError(f"alpha and power must be between 0 and 1, not {alpha} and {power}")
    return (_NORMAL.inv_cdf(1 - alpha / 2) + _NORMAL.inv_cdf(power)) * error * math.sqrt(measured_on / images)


def images_needed(difference: float, error: float, measured_on: int, alpha: float = 0.05, power: float = 0.8) -> int:
    """How many images find a true `difference` with probability `power`; see `detectable_difference`."""
    if difference == 0:
        raise ValueError("no number of images finds a difference of 0; name the smallest one that matters")
    return max(2, math.ceil(measured_on * (detectable_difference(error, alpha, power) / difference) ** 2))


def higher_same_lower(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[int, int, int]:
    """On how many images b scores higher than a, the same, lower: item scores [C] of both; NaN on either side counts
    nowhere."""
    both = np.isfinite(a) & np.isfinite(b)
    gain = b[both] - a[both]
    same = np.abs(gain) <= _SAME * np.maximum(np.abs(a[both]), np.abs(b[both]))
    return int((gain[~same] > 0).sum()), int(same.sum()), int((gain[~same] < 0).sum())


def _draw_swaps(count: int, replicates: int, seed: int) -> Iterator[Rows]:
    """0 or 1 for each cluster with equal chance: float64 [block, count] block by block; the same for the same seed."""
    rng = np.random.default_rng(seed)
    words = -(-count // 64)
    step = max(1, _CELLS // count)
    for first in range(0, replicates, step):
        size = min(step, replicates - first)
        bits = rng.integers(0, 2**64 - 1, size=(size, words), dtype=np.uint64, endpoint=True).astype("<u8")
        yield np.unpackbits(bits.view(np.uint8), axis=1, count=count).astype(np.float64)


def _bootstrap_p(differences: NDArray[np.float64]) -> float:
    """NaN where more than 5 % of the replicates [B] are undefined, or there is none."""
    defined = differences[np.isfinite(differences)]
    if not len(defined) or len(defined) < MIN_DEFINED * len(differences):
        return math.nan
    below = (1 + np.count_nonzero(defined <= 0)) / (1 + len(defined))
    above = (1 + np.count_nonzero(defined >= 0)) / (1 + len(defined))
    return float(min(1.0, 2 * min(below, above)))


def _check_pair(a: Rows, b: Rows) -> None:
    if a.shape != b.shape:
        raise ValueError(f"paired rows must have the same shape, not {a.shape} and {b.shape}")
