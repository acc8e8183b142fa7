"""Scores with their intervals, made in one of three ways; every interval of a score comes from here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

import numpy as np
from numpy.typing import NDArray

from capwright.evaluation.stats.bootstrap import Rows, bootstrap_sums, intervals, left_out_sums, sum_by_cluster
from capwright.evaluation.stats.jackknife import Estimates, Finalize, Floats, jackknife
from capwright.scorers import Context, Scorer
from capwright.types import DataError

METHODS = ("jackknife", "percentile", "bca")


@dataclass(frozen=True, slots=True)
class How:
    """How intervals are made. Raises DataError for a method, seed or level that cannot be.

    Attributes:
        method: "jackknife" (see `capwright.evaluation.stats.jackknife`), or "percentile" or "bca" of the bootstrap (see
            `bootstrap.intervals`).
        replicates: of the bootstrap, and of a bootstrap test. 0 leaves intervals out, whatever the method.
        seed: of the bootstrap and of tests; the jackknife draws nothing.
        level: share of intervals that should hold the truth, between 0 and 1.
    """

    method: str = "jackknife"
    replicates: int = 1000
    seed: int = 0
    level: float = 0.95

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise DataError(f"intervals can be made by {', '.join(METHODS)}, not by {self.method!r}")
        if not isinstance(self.seed, Integral) or isinstance(self.seed, bool) or self.seed < 0:
            raise DataError(f"the seed must be a whole number, 0 or more, not {self.seed!r}")
        if not 0 < self.level < 1:
            raise DataError(f"the level of intervals must be between 0 and 1, such as 0.95, not {self.level}")

    @property
    def name(self) -> str:
        """As signatures have it: "jackknife", "boot1000", "bca2000@90" (another level than 95 %), "none"."""
        if not self.replicates:
            return "none"
        drawn = {"percentile": f"boot{self.replicates}", "bca": f"bca{self.replicates}"}
        return drawn.get(self.method, self.method) + ("" if self.level == 0.95 else f"@{100 * self.level:g}")

    def sign(self, unit: str) -> str:
        """ "ci:jackknife|unit:image": everything that can change an interval; the seed where it can."""
        seed = f"|seed:{self.seed}" if self.replicates and self.method != "jackknife" else ""
        return f"ci:{self.name}|unit:{unit}{seed}"


def estimate(rows: Rows, finalize: Finalize, ranges: Floats | None = None, how: How | None = None) -> Estimates:
    """Scores of additive rows [C, k] of C clusters, `finalize(sums)`, with intervals; outputs [m].

    Args:
        rows, finalize, ranges: see `jackknife`.
        how: the jackknife at 95 % by default.

    Standard errors are those of the jackknife whatever the method. No interval leaves its range: resamples of rows that
    are linearized (see `ScorerSpec.unit`) may.
    """
    how = how or How()
    if len(rows) < 2 or not how.replicates:
        value = np.asarray(finalize(rows.sum(0)), dtype=np.float64)
        return Estimates(value, *np.full((3, len(value)), np.nan))
    found = jackknife(rows, finalize, how.level, ranges)
    if how.method == "jackknife":
        return found
    left_out = finalize(left_out_sums(rows)) if how.method == "bca" else None
    drawn = finalize(bootstrap_sums(rows, how.replicates, how.seed))
    ends = intervals(drawn, how.level, how.method, point=found.value, left_out=left_out)
    low, high = (np.where(np.isfinite(found.value), end, np.nan) for end in ends)
    if ranges is not None:
        low, high = (np.clip(end, *ranges.T) for end in (low, high))
    return found._replace(low=low, high=high)


def gather(parts: Sequence[Rows], counted: NDArray[np.bool_], clusters: Sequence[str] | None) -> Rows:
    """Rows [images, k] of several scorers side by side, of the images that count; added up by cluster if there are."""
    rows = np.concatenate([part[counted] for part in parts], axis=1)
    return rows if clusters is None else sum_by_cluster(rows, [clusters[i] for i in np.flatnonzero(counted).tolist()])


def join(scorers: Sequence[Scorer], contexts: Sequence[Context], parts: Sequence[Rows]) -> tuple[Finalize, Floats]:
    """One `finalize` of scorers whose rows stand beside each other, as in `parts`; and (low, high) of all outputs."""
    edges = np.cumsum([part.shape[1] for part in parts])[:-1]

    def finalize(summed: Rows) -> Rows:
        split = np.split(summed, edges, axis=-1)
        return np.concatenate([scorer.finalize(part) for scorer, part in zip(scorers, split)], axis=-1)

    ranges = [scorer.spec.range_of(output) for scorer, context in zip(scorers, contexts) for output in context.outputs]
    return finalize, np.array(ranges, dtype=np.float64).reshape(-1, 2)


def ranges_of_differences(ranges: Floats) -> Floats:
    """(low, high) of the difference of two scores that have these ranges [m, 2]."""
    width = ranges[:, 1] - ranges[:, 0]
    return np.stack([-width, width], axis=1)
