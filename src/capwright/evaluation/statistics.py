"""How sure are we? Resampling of images, as one matrix product over statistics rows.

The unit that is resampled is the image (the cluster): all statistics of an image are drawn together. A replicate draws
as many images as there are, with replacement; its scores are `finalize(weights @ rows)`. What a context holds (an idf
table, a term table) stays fixed, so intervals are conditional on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]
Finalize = Callable[[Rows], Rows]

#: Cells of a weight matrix held at a time (64 MB of float64).
_CELLS = 8_000_000
#: An interval needs at least this share of replicates in which the score is defined.
_MIN_DEFINED = 0.95


@dataclass(frozen=True, slots=True)
class Difference:
    """Score of b minus score of a, on the images known to both.

    Attributes:
        difference: of the point estimates; None when one of them is undefined.
        low, high: percentile interval; None when undefined.
        p: two-sided bootstrap p-value of "no difference"; None when undefined.
    """

    difference: float | None
    low: float | None
    high: float | None
    p: float | None


def bootstrap_sums(rows: Rows, replicates: int = 1000, seed: int = 0) -> Rows:
    """Sums of rows over resampled images: [C, k] -> [replicates, k].

    Row c holds the summed statistics of image c. The same C, replicates and seed always draw the same images, so that
    two systems measured on the same images are resampled in pairs. Without images, or without replicates, all sums
    are of nothing.
    """
    rows = np.ascontiguousarray(rows, dtype=np.float64)
    count = len(rows)
    sums = np.zeros((max(replicates, 0), rows.shape[1]))
    if count == 0:
        return sums
    rng = np.random.default_rng(seed)
    step = max(1, _CELLS // count)
    for first in range(0, replicates, step):
        size = min(step, replicates - first)
        drawn = rng.integers(count, size=(size, count)) + count * np.arange(size)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count)
        sums[first : first + size] = weights.astype(np.float64) @ rows
    return sums


def sum_by_cluster(rows: Rows, clusters: NDArray[np.int64]) -> Rows:
    """Rows [N, k] added up by cluster [N]: one row for each cluster that occurs, by cluster number."""
    found, place = np.unique(clusters, return_inverse=True)
    sums = np.zeros((len(found), rows.shape[1]))
    np.add.at(sums, place, rows)
    return sums


def intervals(scores: Rows, level: float = 0.95) -> tuple[Rows, Rows]:
    """Percentile intervals of replicate scores [B, m]: (low [m], high [m]).

    Replicates in which a score is undefined are left out; when they are more than 5 % the interval is undefined (NaN),
    because it would describe only the lucky draws.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, not {level}")
    low = np.full(scores.shape[1], np.nan)
    high = low.copy()
    for column in range(scores.shape[1]):
        values = scores[:, column]
        defined = values[np.isfinite(values)]
        if len(defined) and len(defined) >= _MIN_DEFINED * len(values):
            low[column], high[column] = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return low, high


def paired_differences(
    a: Rows, b: Rows, finalize: Finalize, replicates: int = 1000, seed: int = 0, level: float = 0.95
) -> list[Difference]:
    """Paired bootstrap of two systems: rows [C, k] of the same C images in the same order; one Difference an output.

    p = 2 * min(share of replicates with b - a <= 0, share with b - a >= 0), each share with one added to numerator and
    denominator, at most 1. It agrees with the interval: an interval that excludes 0 has p below 1 - level, up to the
    resolution of 1 / replicates. Fewer than two images give an interval and p of None.
    """
    if a.shape != b.shape:
        raise ValueError(f"paired rows must have the same shape, not {a.shape} and {b.shape}")
    width = a.shape[1]
    point = finalize(b.sum(0)) - finalize(a.sum(0))
    sums = bootstrap_sums(np.concatenate([a, b], axis=1), replicates if len(a) > 1 else 0, seed)
    drawn = finalize(sums[:, width:]) - finalize(sums[:, :width])
    low, high = intervals(drawn, level)
    found = []
    for i, value in enumerate(point):
        if np.isfinite(value) and np.isfinite(low[i]):
            found.append(Difference(float(value), float(low[i]), float(high[i]), _p_value(drawn[:, i])))
        else:
            found.append(Difference(known(value), None, None, None))
    return found


def _p_value(differences: NDArray[np.float64]) -> float:
    differences = differences[np.isfinite(differences)]
    below = (1 + np.count_nonzero(differences <= 0)) / (1 + len(differences))
    above = (1 + np.count_nonzero(differences >= 0)) / (1 + len(differences))
    return float(min(1.0, 2 * min(below, above)))


def known(value: float) -> float | None:
    """A number, or None when it is not finite: what is undefined is unknown, never 0."""
    return float(value) if np.isfinite(value) else None
