"""Intervals without resampling: what leaving out one image after the other says about other images like them.

A score that is made of sums moves a little when one image is left out. From these moves come the standard error of the
score (the jackknife; Miller 1974, Biometrika 61), the skewness that makes one end of its interval longer than the other
(Hall 1992, J. R. Stat. Soc. B 54), and how far the standard error itself can be trusted (degrees of freedom of
Student's t). Where the range of the score is known, the interval is drawn on Wilson's curve (1927, J. Am. Stat. Assoc.
22): of a plain share it is Wilson's interval, and 0 of 40 is no point. Put together by us; docs/methods/statistics.md
has the formulas, the reasons, and how often these intervals hold the truth.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from capwright.arrays import Floats
from capwright.evaluation.stats.bootstrap import Rows, left_out_sums

Finalize = Callable[[Rows], Rows]

#: The most that the weight of outliers takes from the degrees of freedom: n / 10 images count as one.
_HEAVIEST = 10
#: Values closer than this share of the range are the same.
_SAME = 1e-9
#: A spread below this share of the score or of its range is rounding.
_STILL = 1e-12

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


class Estimates(NamedTuple):
    """Scores, ends of their intervals, and standard errors [m]; NaN where unknown."""

    value: Floats
    low: Floats
    high: Floats
    error: Floats


@dataclass(frozen=True)
class _Moves:
    """What is known of each output, all [m]; NaN where an output has no interval.

    Attributes:
        point: the score.
        n: images (clusters) that say anything about it: those that have a value of their own, or move it.
        square: sum of the squares of the centered moves; 0 where no image moves the score.
        skew: their skewness over the root of n. kurtosis: theirs, 3 for normal moves.
        usual, unusual: the middle one of the values that single images have, and how many have another.
    """

    point: Floats
    n: Floats
    square: Floats
    skew: Floats
    kurtosis: Floats
    usual: Floats
    unusual: Floats


def jackknife(rows: Rows, finalize: Finalize, level: float = 0.95, ranges: Floats | None = None) -> Estimates:
    """Intervals of scores of additive rows.

    Args:
        rows: [C, k], finite; row c holds the statistics of cluster c (an image, or images that belong together).
        finalize: sums [..., k] -> scores [..., m], smooth in the sums but for isolated points.
        level: share of intervals that should hold the truth, between 0 and 1.
        ranges: (low, high) of each output [m, 2], infinite where it has no end; None: no output has any.

    An interval holds the score and stays in its range. It is unknown (NaN) when the score is, when fewer than two
    clusters say anything about it, when it is undefined without one of them, and when all say the same of a score that
    could be anything: without a range nothing is known about how far others are.

    >>> share = lambda sums: sums[..., :1] / sums[..., 1:]
    >>> none_of_40 = jackknife(np.array([[0.0, 1.0]] * 40), share, ranges=np.array([[0.0, 1.0]]))
    >>> none_of_40.low[0], round(none_of_40.high[0], 4)
    (0.0, 0.0876)
    """
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, not {level}")
    point = np.asarray(finalize(rows.sum(0)), dtype=np.float64)
    floor, roof = np.tile([-np.inf, np.inf], (len(point), 1)).T if ranges is None else np.asarray(ranges).T
    moves = _moves(rows, finalize, point, roof - floor)
    share = (1 + level) / 2
    low, high = _skewed(moves, share, floor, roof)
    low, high = _widened(low, high, moves, share, floor, roof)
    still = (moves.square == 0) & ~np.isfinite(roof - floor)
    low, high = (np.where(still, np.nan, np.clip(end, floor, roof)) for end in (low, high))
    error = np.sqrt(moves.square * moves.n / (moves.n - 1))
    return Estimates(point, np.minimum(low, point), np.maximum(high, point), error)


def _moves(rows: Rows, finalize: Finalize, point: Floats, width: Floats) -> _Moves:
    found = np.full((6, len(point)), np.nan)
    if len(rows) > 1:
        own, moved = finalize(rows), point - finalize(left_out_sums(rows))
        for i in np.flatnonzero(np.isfinite(point)):
            found[:, i] = _of_output(point[i], own[:, i], moved[:, i], width[i])
    return _Moves(point, *found)


def _of_output(point: float, own: Floats, moved: Floats, width: float) -> tuple[float, ...]:
    """n and so on of one output, in the order of `_Moves`."""
    telling = np.isfinite(own) | (moved != 0)
    own, moved = own[telling], moved[telling]
    n = len(moved)
    if n < 2 or not np.isfinite(moved).all():
        return (math.nan,) * 6
    moved = (moved - moved.mean()) * ((n - 1) / n)
    length = math.sqrt(float((moved * moved).sum()))
    scale = max(abs(point), width) if math.isfinite(width) else abs(point)
    if length <= _STILL * scale:
        return n, 0.0, 0.0, 3.0, point, 0
    moved = moved / length
    squares = moved * moved
    values = own[np.isfinite(own)]
    usual = float(np.partition(values, (len(values) - 1) // 2)[(len(values) - 1) // 2]) if len(values) else point
    near = _SAME * width if math.isfinite(width) else 0.0
    unusual = n - np.count_nonzero(np.abs(own - usual) <= near)
    return n, length**2, float((squares * moved).sum()), n * float((squares * squares).sum()), usual, unusual


def _skewed(moves: _Moves, share: float, floor: Floats, roof: Floats) -> tuple[Floats, Floats]:
    """Student's t with Hall's correction for skewness, on Wilson's curve where both ends of the range are known."""
    n, point = moves.n, moves.point
    with np.errstate(invalid="ignore"):
        room = (point - floor) * (roof - point)
    curved = (moves.square > 0) & np.isfinite(room) & (room > 0)
    room = np.where(curved, room, 1.0)
    floor, roof = np.where(curved, floor, 0.0), np.where(curved, roof, 0.0)
    df = _degrees_of_freedom(moves, curved)
    variance = moves.square * (1 + 1 / df)
    # Wilson's curve is skewed by itself; what is left to correct is the rest. n (n - 1) makes up for few images.
    own = np.where(curved, (floor + roof - 2 * point) * np.sqrt(moves.square) / room, 0.0)
    skew = (moves.skew - own) * np.where(n > 2, np.sqrt(n * (n - 1)) / np.maximum(n - 2, 1), 1.0)
    t = student_quantile(share, df)
    # Sample skewness is noise where tails are heavy, so the correction may only lengthen an end.
    down, up = np.maximum(_hall(t, skew), t), np.maximum(-_hall(-t, skew), t)
    low, high = point - down * np.sqrt(variance), point + up * np.sqrt(variance)
    if curved.any():
        low = np.where(curved, _wilson(point, down**2 * variance / room, floor, roof, -1), low)
        high = np.where(curved, _wilson(point, up**2 * variance / room, floor, roof, 1), high)
    return low, high


def _degrees_of_freedom(moves: _Moves, curved: NDArray[np.bool_]) -> Floats:
    """Those of the variance, given the mean: n / d - 1 with d = (kurtosis - 1 - skewness²) / 2.

    d is 1 for normal moves, which gives n - 1; more where tails are heavy; and 0 where images have only two values
    (right or wrong), whose variance follows from the mean, so that Student's t becomes the normal. The factor makes d
    unbiased for n normal moves. d below 1 is believed only where the range says that no further values lie far away.
    """
    n = moves.n
    few = np.where(n > 2, (n + 1) * (n + 3) / (n * np.maximum(n - 2, 1)), 1.0)
    d = np.where(n > 2, few * (moves.kurtosis - 1 - n * moves.skew**2) / 2, 1.0)
    d = np.clip(d, np.where(curved, 0.0, 1.0), np.maximum(n / _HEAVIEST, 1.0))
    with np.errstate(divide="ignore"):
        return np.asarray(np.maximum(n / d - 1, 1.0))


def _hall(t: Floats, skew: Floats) -> Floats:
    """Standard errors at which Hall's cubic transformation of a studentized score has the value t.

    `skew` is the skewness of the moves over the square root of their number. The transformation
    x + s/3 x² + s²/27 x³ + s/6 is monotone, has no skewness to second order, and can be inverted.
    """
    third = np.where(np.abs(skew) > 1e-8, skew, 1.0) / 3
    bent = (np.cbrt(1 + 3 * third * (t - skew / 6)) - 1) / third
    return np.where(np.abs(skew) > 1e-8, bent, t - skew / 6)


def _wilson(point: Floats, k: Floats, floor: Floats, roof: Floats, side: int) -> Floats:
    """The solution of (point - x)² = k (x - floor) (roof - x) on one side of the point (-1 or 1)."""
    half = point + k * (floor + roof) / 2
    return (half + side * np.sqrt(np.maximum(half**2 - (1 + k) * (point**2 + k * floor * roof), 0.0))) / (1 + k)


def _widened(
    low: Floats, high: Floats, moves: _Moves, share: float, floor: Floats, roof: Floats
) -> tuple[Floats, Floats]:
    """Ends that do not trust a spread which few images tell of.

    K images have another value than the usual one. If all their values, and those of images like them, were as far as
    the range reaches, the score would lie no further than Wilson's upper end for K of n images says. With K = 0 this is
    all that is known. If half of such images reached so far, none of K would have been seen to with a chance of 1 in
    2^K: by that share an end is moved there. A share of images stays what it is, as its images reach that far.
    """
    z2 = NormalDist().inv_cdf(share) ** 2
    n = moves.n
    seen = moves.unusual / n
    most = (seen + z2 / (2 * n) + np.sqrt(z2 * (seen * (1 - seen) / n + z2 / (4 * n**2)))) / (1 + z2 / n)
    trust = 0.5**moves.unusual
    bounded = np.isfinite(roof - floor)
    near = _SAME * np.where(bounded, roof - floor, 1.0)
    with np.errstate(invalid="ignore"):
        furthest_down = moves.usual - most * (moves.usual - floor)
        furthest_up = moves.usual + most * (roof - moves.usual)
    down = bounded & (moves.usual - floor > near)
    up = bounded & (roof - moves.usual > near)
    low = np.where(down, low - trust * np.maximum(low - np.where(down, furthest_down, 0.0), 0.0), low)
    high = np.where(up, high + trust * np.maximum(np.where(up, furthest_up, 0.0) - high, 0.0), high)
    return low, high


def student_quantile(share: float, df: Floats) -> Floats:
    """Quantiles of Student's t, to 1e-9: share (above one half) and degrees of freedom [m] of 1 or more -> [m].

    With x = sqrt(df) tan(a) the density is a power of a cosine, which is integrated from 0 to a (Gauss-Legendre) and
    solved by bisection. Infinite (and more than a million) degrees of freedom are the normal's; NaN stays NaN.
    """
    normal = NormalDist().inv_cdf(share)
    df, place = np.unique(df, return_inverse=True)  # most scores have those of n - 1
    wanted = np.where(df <= 1e6, df, 1.0)
    factor = np.array([math.exp(math.lgamma((v + 1) / 2) - math.lgamma(v / 2)) for v in wanted]) / math.sqrt(math.pi)
    below, above = np.zeros(len(df)), np.full(len(df), math.pi / 2)
    for _ in range(52):
        angle = (below + above) / 2
        cosines = np.cos(angle[:, None] / 2 * (_NODES + 1)) ** (wanted[:, None] - 1)
        reached = factor * angle / 2 * (cosines * _WEIGHTS).sum(1) >= share - 0.5
        below, above = np.where(reached, below, angle), np.where(reached, angle, above)
    found = np.sqrt(wanted) * np.tan((below + above) / 2)
    return np.where(np.isnan(df), np.nan, np.where(df <= 1e6, found, normal))[place]
