"""Correlation of two lists of numbers, for the lists as they are and for a thousand resamples of them at once.

Every function here is prepared once for (x, y) and then asked with weights [B, n]: how often item i is drawn in each
replicate. Weights of one give the coefficient of the data. Pairs that an item drawn twice makes with itself are not
pairs of the data; they are left out, so that resampling makes no ties.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capwright.arrays import Floats
from capwright.evaluation.stats.bootstrap import Rows, weigher
from capwright.scorers.base import ratio

Codes = NDArray[np.int64]
#: weights [B, n] -> values [B]; NaN where undefined.
Weighted = Callable[[Rows], Floats]

#: A variance below this share of the data's is that of rounding: all drawn numbers are the same.
_NO_SPREAD = 1e-12


def kendall(x: Floats, y: Floats, variant: str = "b") -> Weighted:
    """Kendall's tau-b or Stuart's tau-c of numbers [n].

    With C concordant and D discordant pairs, Tx pairs tied in x alone and Ty in y alone:
    tau-b = (C - D) / sqrt((C + D + Tx) (C + D + Ty)), and tau-c = 2 (C - D) / n^2 * m / (m - 1), where m is the smaller
    number of different values in x and in y. m stays that of the data in every replicate, and what a replicate with
    few values has beyond 1 is cut off. Between -1 and 1; undefined when all x or all y are equal.
    """
    if variant not in ("b", "c"):
        raise ValueError(f"variant must be 'b' or 'c', not {variant!r}")
    counts = pair_counts(x, y)
    values = min(len(np.unique(x)), len(np.unique(y)))

    def tau(weights: Rows) -> Floats:
        concordant, discordant, only_x, only_y, both = counts(weights)
        untied = concordant + discordant
        if variant == "b":
            return ratio(concordant - discordant, np.sqrt((untied + only_x) * (untied + only_y)))
        if values < 2:
            return np.full(len(weights), np.nan)
        n = weights.sum(1)
        share = ratio(concordant - discordant, untied + only_x + only_y + both)
        return np.clip(share * (n - 1) / n * values / (values - 1), -1.0, 1.0)

    return tau


def pairwise_accuracy(x: Floats, y: Floats, ties: str = "half") -> Weighted:
    """Share of pairs that x orders as y does, between 0 and 1; see `accuracy` for `ties`. y is what is right."""
    counts = pair_counts(x, y)
    return lambda weights: accuracy(counts(weights), ties)


def accuracy(counts: tuple[Floats, ...], ties: str) -> Floats:
    """Share of right pairs of (concordant, discordant, tied in x alone, in y alone, in both).

    "half": pairs that are tied in y are left out, a tie in x alone is half right; chance is one half. "equal": a tie is
    right where y has one too, and all pairs count (Deutsch, Foster and Freitag 2023, arXiv 2305.14324).
    """
    concordant, discordant, only_x, only_y, both = counts
    if ties == "half":
        return ratio(concordant + only_x / 2, concordant + discordant + only_x)
    return ratio(concordant + both, concordant + discordant + only_x + only_y + both)


def spearman(x: Floats, y: Floats) -> Weighted:
    """Spearman's rho: Pearson's r of the ranks, ties share the mean of their ranks. Ranks are made anew in every
    replicate."""
    groups = _Groups(x), _Groups(y)

    def rho(weights: Rows) -> Floats:
        columns = np.ascontiguousarray(weights.T)
        middle = (columns.sum(0) + 1) / 2
        left, right = (group.ranks(columns) - middle for group in groups)
        spread = (columns * left**2).sum(0) * (columns * right**2).sum(0)
        return ratio((columns * left * right).sum(0), np.sqrt(spread))

    return rho


def pearson(x: Floats, y: Floats) -> Weighted:
    """Pearson's r, between -1 and 1; undefined when all x or all y are equal."""
    left, right = x - x.mean(), y - y.mean()
    rows = np.stack([np.ones(len(x)), left, right, left**2, right**2, left * right], axis=1)
    varies = min(np.ptp(x), np.ptp(y)) > 0
    weigh = weigher(rows, len(x) ** 2)  # a replicate can draw the largest cluster for every one there is

    def r(weights: Rows) -> Floats:
        n, sx, sy, sxx, syy, sxy = weigh(weights).T
        vx, vy = sxx - sx**2 / n, syy - sy**2 / n
        spread = (vx > _NO_SPREAD * rows[:, 3].sum()) & (vy > _NO_SPREAD * rows[:, 4].sum()) & varies
        return ratio(np.where(spread, sxy - sx * sy / n, 0.0), np.where(spread, np.sqrt(np.abs(vx * vy)), 0.0))

    return r


def pair_counts(x: Floats, y: Floats) -> Callable[[Rows], tuple[Floats, ...]]:
    """Weights [B, n] -> numbers [B] of pairs: concordant, discordant, tied in x alone, in y alone, in both.

    O(n log v) for each replicate, where v is the smaller number of different values; all counts are exact.
    """
    in_x, in_y = _Groups(x), _Groups(y)
    in_both = _Groups(in_x.code * (in_y.code.max(initial=0) + 1) + in_y.code)
    narrow, wide = sorted((in_x.code, in_y.code), key=lambda code: int(code.max(initial=0)))
    steps = [_Step.of(narrow, wide, bit) for bit in range(int(narrow.max(initial=0)).bit_length())]

    def counts(weights: Rows) -> tuple[Floats, ...]:
        columns = np.ascontiguousarray(weights.T)
        n, own = columns.sum(0), (columns**2).sum(0)
        tied_x, tied_y, tied_both = ((group.squares(columns) - own) / 2 for group in (in_x, in_y, in_both))
        untied = (n**2 - own) / 2 - tied_x - tied_y + tied_both
        net = sum((step.net(columns) for step in steps), np.zeros(len(weights)))
        return (untied + net) / 2, (untied - net) / 2, tied_x - tied_both, tied_y - tied_both, tied_both

    return counts


class _Groups:
    """Items [n] with equal values, in the order of the values."""

    def __init__(self, values: NDArray) -> None:
        self.code: Codes = np.unique(values, return_inverse=True)[1].reshape(-1).astype(np.int64)
        self._order = np.argsort(self.code, kind="stable")
        self._starts = np.searchsorted(self.code[self._order], np.arange(self.code.max(initial=-1) + 1))

    def sizes(self, columns: Rows) -> Rows:
        """Weights [n, B] -> weight of each group [groups, B]."""
        return np.add.reduceat(columns[self._order], self._starts, axis=0)

    def squares(self, columns: Rows) -> Floats:
        return (self.sizes(columns) ** 2).sum(0)

    def ranks(self, columns: Rows) -> Rows:
        """Middle ranks [n, B] from 1."""
        sizes = self.sizes(columns)
        return (np.cumsum(sizes, axis=0) - (sizes - 1) / 2)[self.code]


@dataclass(frozen=True, slots=True)
class _Step:
    """One bit of the narrow codes: the pairs whose codes agree in all higher bits and differ in this one.

    Every pair with different narrow codes belongs to exactly one bit, the highest in which they differ, and there the
    item with the 1 is the higher one. Sorted by (higher bits, wide code), the items with a 0 that lie below or above
    an item are the difference of two running sums.
    """

    order: Codes
    zero: Floats  # [n, 1], in that order
    ones: Codes
    group: tuple[Codes, Codes]  # where the group of each one starts and ends
    equals: tuple[Codes, Codes]  # where the items with its wide code start and end

    @staticmethod
    def of(narrow: Codes, wide: Codes, bit: int) -> _Step:
        above = narrow >> (bit + 1)
        order = np.lexsort((wide, above))
        is_one = ((narrow >> bit) & 1 == 1)[order]
        new_group = np.diff(above[order], prepend=-1) != 0
        new_value = new_group | (np.diff(wide[order], prepend=-1) != 0)
        zero = np.where(is_one, 0.0, 1.0)[:, None]
        return _Step(order, zero, order[is_one], _edges(new_group, is_one), _edges(new_value, is_one))

    def net(self, columns: Rows) -> Floats:
        """Concordant minus discordant pairs [B] of weights [n, B]."""
        running = np.zeros((len(columns) + 1, columns.shape[1]))
        np.cumsum(columns[self.order] * self.zero, axis=0, out=running[1:])
        below = running[self.equals[0]] - running[self.group[0]]
        above = running[self.group[1]] - running[self.equals[1]]
        return (columns[self.ones] * (below - above)).sum(0)


def _edges(new: NDArray[np.bool_], of: NDArray[np.bool_]) -> tuple[Codes, Codes]:
    """Where the runs of some items start and end; `new` marks the first item of each run."""
    starts = np.flatnonzero(new)
    run = np.cumsum(new)[of] - 1
    return starts[run], np.append(starts[1:], len(new))[run]
