"""How sure are we of a score? Resampling of images, as one matrix product over statistics rows.

The unit that is resampled is the image, or a cluster of images that belong together (frames of one video): all
statistics of a cluster are drawn together. A replicate draws as many clusters as there are, with replacement; its
scores are `finalize(weights @ rows)`. What a context holds (an idf table, a term table) stays fixed, so intervals are
conditional on it. Rows of set-level scorers are linearized (see `ScorerSpec.unit`), so all of this holds for them too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]

METHODS = ("percentile", "bca")

#: Cells of a weight matrix held at a time (8 MB of float64): larger blocks are not faster.
_CELLS = 1_000_000
#: An interval or a test needs at least this share of replicates in which the score is defined.
MIN_DEFINED = 0.95

_NORMAL = NormalDist()


def draw_weights(count: int, replicates: int = 1000, seed: int = 0) -> Iterator[tuple[int, Rows]]:
    """How often each of `count` clusters is drawn: (first replicate, float64 [block, count]) block by block.

    Every replicate draws `count` clusters with replacement. The same count and seed always draw the same clusters, so
    scores and systems that are measured on the same images are resampled together; replicate 7 of 1,000 is replicate
    7 of 2,000. Memory does not grow with `replicates`.
    """
    if count == 0:
        return
    rng = np.random.default_rng(seed)
    step = max(1, _CELLS // count)
    for first in range(0, replicates, step):
        drawn = rng.integers(count, size=(min(step, replicates - first), count), dtype=np.int32)
        weights = np.empty(drawn.shape)
        for row, members in zip(weights, drawn):
            row[:] = np.bincount(members, minlength=count)
        yield first, weights


def bootstrap_sums(rows: Rows, replicates: int = 1000, seed: int = 0) -> Rows:
    """Sums of rows over resampled clusters: [C, k] -> [replicates, k]; row c holds the statistics of cluster c.

    Draws are those of `draw_weights`, sums those of `weigher`. Without clusters, or without replicates, all sums are of
    nothing.
    """
    sums = np.zeros((max(replicates, 0), rows.shape[1]))
    weigh = weigher(rows, len(rows))
    for first, weights in draw_weights(len(rows), replicates, seed):
        sums[first : first + len(weights)] = weigh(weights)
    return sums


def weigher(rows: Rows, most: int) -> Callable[[Rows], Rows]:
    """Rows [C, k] -> a function of weights [B, C] that gives `weights @ rows` [B, k], the same on every machine.

    A plain matrix product adds up in an order that hangs on the number of threads, and its last digits with it. Here
    every row is the sum of two parts that are whole multiples of a unit, one for each part and column. Units are so
    large that a sum has at most 53 bits and is never rounded, so that no order matters; what is left over is below
    2**-70 of the largest value in its column.

    Args:
        rows: finite.
        most: weights are whole numbers of 0 or more, and those of a replicate add up to at most this.
    """
    left = np.array(rows, dtype=np.float64)
    bits = most.bit_length()
    parts = []
    for _ in range(2):
        _, exponent = np.frexp(np.abs(left).max(0, initial=0))
        unit = np.ldexp(1.0, np.maximum(exponent + bits - 53, -1074))
        parts.append(np.rint(left / unit) * unit)
        left -= parts[-1]
    both = np.concatenate(parts, axis=1)
    width = left.shape[1]

    def weigh(weights: Rows) -> Rows:
        sums = weights @ both
        return np.asarray(sums[:, :width] + sums[:, width:])

    return weigh


def cluster_codes(clusters: Sequence[Any] | NDArray[Any]) -> NDArray[np.int64]:
    """Labels [N] -> numbers [N] from 0, in the order in which labels first appear."""
    number: dict[Any, int] = {}
    labels = clusters.tolist() if isinstance(clusters, np.ndarray) else clusters
    return np.array([number.setdefault(label, len(number)) for label in labels], dtype=np.int64)


def sum_by_cluster(rows: Rows, clusters: Sequence[Any] | NDArray[Any]) -> Rows:
    """Sum rows [N, k] that have the same label: [C, k], in the order in which labels [N] first appear.

    Labels are numbers or texts. One cluster a row gives the rows back as they are, so clusters of one image change no
    interval.
    """
    if len(clusters) != len(rows):
        raise ValueError(f"there must be one cluster label a row, not {len(clusters)} for {len(rows)} rows")
    codes = cluster_codes(clusters)
    sums = np.zeros((int(codes.max()) + 1 if len(codes) else 0, rows.shape[1]))
    np.add.at(sums, codes, rows)
    return sums


def left_out_sums(rows: Rows) -> Rows:
    """Sums of all rows but one: [C, k] -> [C, k]; `finalize` of them gives the scores without one cluster each."""
    return rows.sum(0) - rows


def intervals(
    scores: Rows,
    level: float = 0.95,
    method: str = "percentile",
    *,
    point: NDArray[np.float64] | None = None,
    left_out: Rows | None = None,
) -> tuple[Rows, Rows]:
    """Intervals of replicate scores [B, m]: (low [m], high [m]).

    Args:
        scores: `finalize(bootstrap_sums(rows))`.
        level: share of intervals that should hold the truth, between 0 and 1.
        method: "percentile", or "bca" (Efron 1987): percentiles moved for the bias of the replicates and for a
            spread that changes with the score. BCa is the better one for skewed scores of few images.
        point: scores [m] of the data itself; only for "bca".
        left_out: scores [C, m] without one cluster each, see `left_out_sums`; only for "bca".

    Replicates in which a score is undefined are left out; when they are more than 5 % the interval is undefined (NaN),
    because it would describe only the lucky draws. A BCa interval is also undefined when the score without some
    cluster is.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, not {level}")
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, not {method!r}")
    if method == "bca" and (point is None or left_out is None):
        raise ValueError("a BCa interval needs the point estimates and the scores with one cluster left out")
    shares = np.array([(1 - level) / 2, (1 + level) / 2])
    low = np.full(scores.shape[1], np.nan)
    high = low.copy()
    for column in range(scores.shape[1]):
        values = scores[:, column]
        defined = values[np.isfinite(values)]
        if not len(defined) or len(defined) < MIN_DEFINED * len(values):
            continue
        moved = shares
        if point is not None and left_out is not None and method == "bca":
            moved = _moved(shares, defined, point[column], left_out[:, column])
        if np.isfinite(moved).all():
            low[column], high[column] = np.quantile(defined, moved)
    return low, high


def _moved(shares: Rows, values: Rows, point: float, left_out: Rows) -> Rows:
    """The shares of replicates between which the BCa interval lies; NaN when undefined.

    Replicates equal to the point estimate count half on either side. Differences that are rounding errors (a score
    that no cluster changes) count as none.
    """
    nan = np.full(2, np.nan)
    if not (np.isfinite(point) and np.isfinite(left_out).all()):
        return nan
    near = 1e-12 * max(abs(point), float(np.abs(values).max()))
    below = np.count_nonzero(values < point - near) + 0.5 * np.count_nonzero(np.abs(values - point) <= near)
    if not 0 < below < len(values):
        return nan
    bias = _NORMAL.inv_cdf(below / len(values))
    pull = left_out.mean() - left_out
    spread = float((pull**2).sum())
    acceleration = float((pull**3).sum()) / (6 * spread**1.5) if spread > near**2 else 0.0
    moved = []
    for share in shares:
        z = bias + _NORMAL.inv_cdf(float(share))
        if acceleration * z >= 1:
            return nan
        moved.append(_NORMAL.cdf(bias + z / (1 - acceleration * z)))
    return np.array(moved)


def known(value: float) -> float | None:
    """A number, or None when it is not finite: what is undefined is unknown, never 0."""
    return float(value) if np.isfinite(value) else None
