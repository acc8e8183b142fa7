"""Scores of parts of a dataset: by scenario, by area, by whatever samples say of themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from capwright.data.files import nearest
from capwright.evaluation.results import Estimate, Group, Measured
from capwright.evaluation.stats.bootstrap import known
from capwright.evaluation.stats.intervals import How, estimate, gather, join
from capwright.types import DataError, Sample

#: What stands for samples that do not have the key.
WITHOUT = "(none)"


def values_of(samples: Sequence[Sample], keys: Sequence[str]) -> dict[str, list[str]]:
    """For each key of `Sample.meta` (or "split") what each sample has there, as text. One pass over the samples.

    Raises DataError for a key that no sample has, naming those that there are.
    """
    found: dict[str, list[str]] = {key: [] for key in keys}
    there: set[str] = set()
    for sample in samples:
        there.update(sample.meta)
        for key, values in found.items():
            value = sample.split if key == "split" else sample.meta.get(key)
            values.append(WITHOUT if value is None else value if isinstance(value, str) else json.dumps(value))
    for key, values in found.items():
        if set(values) == {WITHOUT}:
            known_keys = f"; there are {', '.join(sorted(there)[:20])}" if there else ""
            raise DataError(f"no sample has {key!r} in meta to be told apart by{nearest(key, there)}{known_keys}")
    return found


def by_group(
    values: Mapping[str, Sequence[str]],
    measured: Mapping[str, Measured],
    how: How,
    clusters: tuple[str, ...] | None,
) -> dict[str, tuple[Group, ...]]:
    """Groups by key, in the order in which their values appear; intervals as those of the whole set."""
    return {key: tuple(_groups(np.array(each), measured, how, clusters)) for key, each in values.items()}


def _groups(
    values: NDArray[np.str_], measured: Mapping[str, Measured], how: How, clusters: tuple[str, ...] | None
) -> list[Group]:
    groups = []
    parts = {name: one for name, one in measured.items() if one.scorer.spec.unit != "set"}
    for value in dict.fromkeys(values.tolist()):
        inside = values == value
        counted = {name: one.known & inside for name, one in parts.items()}
        estimates = {name: _estimates(one, counted[name], how, clusters) for name, one in parts.items()}
        scored = {name: int(each.sum()) for name, each in counted.items()}
        groups.append(Group(value, int(inside.sum()), scored, estimates))
    return groups


def _estimates(
    one: Measured, counted: NDArray[np.bool_], how: How, clusters: tuple[str, ...] | None
) -> dict[str, Estimate]:
    if not counted.any():
        return dict.fromkeys(one.context.outputs, Estimate())
    finalize, ranges = join([one.scorer], [one.context], [one.rows])
    found = estimate(gather([one.rows], counted, clusters), finalize, ranges, how)
    ends = zip(found.value.tolist(), found.low.tolist(), found.high.tolist())
    return {output: Estimate(*map(known, each)) for output, each in zip(one.context.outputs, ends)}
