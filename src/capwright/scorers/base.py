"""The one ruler: a scorer turns captions into additive statistics, and statistics into scores.

Every scorer, whether it is used to evaluate or to train, follows the same three steps:

    context = scorer.prepare(corpus)           # idf tables, term tables, question banks; frozen, has a fingerprint
    stats   = scorer.stats(items, context)     # additive rows, one or more for each caption
    scores  = scorer.finalize(summed_rows)     # sums of rows -> scores

Because rows add up, the score of one caption is `finalize(row)`, the score of a corpus is `finalize(rows.sum(0))`,
and a bootstrap is `finalize(weights @ rows)`: one formula, no special cases.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Generic, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from capwright.text.digest import fingerprint
from capwright.types import STATUSES, Sample, ScorerError, Status, Vocabulary

#: Statuses that carry a score. A caption with any other status is unknown: it is counted, never scored as zero.
SCORED = (Status.OK, Status.EMPTY)

UNITS = ("item", "item|ctx", "set")


@dataclass(frozen=True, slots=True)
class ScorerSpec:
    """What a scorer is, without running it.

    Attributes:
        name: short name, the key in reports ("tts").
        version: changes whenever the same captions could get another number.
        needs: what must be there: "terms", "references", "image", "questions", "judge", "java" ...
        unit: "item" (a caption has a score of its own), "item|ctx" (it has one given a context: an idf table, a pool,
            a term table), or "set" (only a set of captions has one; such a scorer cannot be a reward). A set scorer
            is given all captions in one call, and its rows are linearized: (value + (n - 1) * (mean of the
            leave-one-out values - the value without this caption), 1) for each output, so that their mean is the value
            of the set and resampling them has the variance of the jackknife.
        outputs: names of the scores. A context may add more (see `Context.outputs`).
        ranges: (low, high) of each output; the key "tier" covers every output named "tier:...". Infinite if unbounded.
        higher_is_better: None when neither direction is (length).
        cost: "free" (string work), "model" (a local model runs), "calls" (a judge is asked, and paid).
        rewards: names of values in [0, 1] made for training only, computed by `shape(rows)`; the first is the default
            reward. Empty when the headline output is the reward.
        main: the output that stands for the scorer, where that is not the first.
    """

    name: str
    version: str
    outputs: tuple[str, ...]
    ranges: Mapping[str, tuple[float, float]]
    needs: frozenset[str] = frozenset()
    unit: str = "item"
    higher_is_better: bool | None = True
    cost: str = "free"
    rewards: tuple[str, ...] = ()
    main: str = ""

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise ScorerError(f"{self.name}: unit {self.unit!r} is not one of {', '.join(UNITS)}")
        if not self.outputs:
            raise ScorerError(f"{self.name}: a scorer needs at least one output")
        if self.main and self.main not in self.outputs:
            raise ScorerError(f"{self.name}: main {self.main!r} is not one of its outputs {', '.join(self.outputs)}")
        object.__setattr__(self, "ranges", MappingProxyType(dict(self.ranges)))

    @property
    def headline(self) -> str:
        """The output that stands for the scorer."""
        return self.main or self.outputs[0]

    def range_of(self, output: str) -> tuple[float, float]:
        """(low, high) of an output; "tier:rare" falls back to the range of "tier". (-inf, inf) when undeclared."""
        if output in self.rewards:
            return 0.0, 1.0
        family = output.partition(":")[0]
        return self.ranges.get(output, self.ranges.get(family, (-math.inf, math.inf)))


@dataclass(frozen=True, slots=True)
class Item:
    """One caption of one sample.

    `status` is one of `types.STATUSES`; `finish` is "stop" or "length" (cut off). An item with status "ok" and a blank
    caption is measured as "empty".
    """

    sample: Sample
    caption: str
    status: str = Status.OK
    finish: str = "stop"


@dataclass(frozen=True, slots=True)
class Corpus:
    """What a context is made from: samples (with references and terms) and the vocabulary of their domain."""

    samples: Sequence[Sample]
    vocabulary: Vocabulary = field(default_factory=lambda: Vocabulary({}))


@dataclass(frozen=True)
class Context:
    """What a scorer has learned from a corpus; frozen. Scorers subclass it to add tables.

    Attributes:
        scorer: name of the scorer that prepared it.
        fingerprint: hex digest of everything in the context that can change a number.
        outputs: names of the columns of `finalize`: the outputs of the spec, then any that the corpus adds.
    """

    scorer: str
    fingerprint: str
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Stats:
    """Additive statistics of a batch of items.

    Attributes:
        rows: float64 [N, k]. Rows that are unknown are all zero, so that sums can include them.
        owner: int64 [N], which item of the batch a row belongs to. Most scorers give one row an item; a scorer that
            asks several questions about a caption gives several.
        status: for each row, one of `types.STATUSES`.
        evidence: for each row, what the number was made of (JSON values), or None.
    """

    rows: NDArray[np.float64]
    owner: NDArray[np.int64]
    status: tuple[str, ...]
    evidence: tuple[dict[str, Any] | None, ...]

    @property
    def known(self) -> NDArray[np.bool_]:
        """bool [N]: which rows carry a score."""
        return np.array([status in SCORED for status in self.status], dtype=bool)

    def by_item(self, n: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Sum rows by item: float64 [n, k], and bool [n], True where the item has rows and all of them are known."""
        rows = np.zeros((n, self.rows.shape[1]))
        np.add.at(rows, self.owner, self.rows)
        known = np.zeros(n, dtype=bool)
        known[self.owner] = True
        known[self.owner[~self.known]] = False
        return rows, known


C = TypeVar("C", bound=Context)


class Scorer(ABC, Generic[C]):
    """What every metric is. See the module text for how the three steps fit together.

    A scorer of one's own says `spec`, and how `stats` are made; the rest has defaults, which fit a scorer that learns
    nothing and whose score is the mean of its captions' scores.

    Attributes:
        spec: what the scorer is; of the class, or set in `__init__` where it depends on options.
        context_type: what its `prepare` returns.
    """

    spec: ScorerSpec
    context_type: type[Context] = Context

    def prepare(self, corpus: Corpus) -> C:
        """Learn from a corpus what scores depend on. Raises DataError when the corpus does not have what is needed."""
        return cast(C, Context(self.spec.name, fingerprint(self.spec.name), self.spec.outputs))

    @abstractmethod
    def stats(self, items: Sequence[Item], context: Context) -> Stats:
        """Measure captions: additive rows with owner, status and evidence."""

    def finalize(self, summed: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores [..., m] of summed rows [..., k], columns in the order of `context.outputs`. 0/0 is NaN: unknown.

        By default means: of rows (value of each output, 1).
        """
        summed = np.asarray(summed, dtype=np.float64)
        return ratio(summed[..., :-1], summed[..., -1:])

    def signature(self, context: Context) -> str:
        """One line with everything that can change the number; equal signatures are comparable numbers."""
        return write_signature(self.spec.name, **self.fields(context), v=self.spec.version)

    def fields(self, context: Context) -> Mapping[str, object]:
        """What stands in the signature between the name and the version."""
        self.own(context)
        return {}

    def own(self, context: Context) -> C:
        """The context, if it was made by a scorer like this one. Raises ScorerError."""
        if not isinstance(context, self.context_type) or context.scorer != self.spec.name:
            raise ScorerError(f"{self.spec.name}: needs a context made by its own prepare()")
        return cast(C, context)


def explain(scorer: Scorer, items: Sequence[Item], context: Context) -> list[dict[str, Any] | None]:
    """What the numbers of a few captions are made of: one JSON value an item, None where there is nothing to show.

    A scorer whose evidence is expensive leaves it out of `stats` and has a method `explain(items, context)`.
    """
    own = getattr(scorer, "explain", None)
    if own is not None:
        return list(own(items, context))
    stats = scorer.stats(items, context)
    found: list[dict[str, Any] | None] = [None] * len(items)
    for owner, evidence in zip(stats.owner.tolist(), stats.evidence):
        found[owner] = evidence
    return found


def item_status(item: Item) -> str:
    """The status a text scorer gives an item: blank captions are "empty", unknown words are an error."""
    if item.status not in STATUSES:
        raise ScorerError(f"sample {item.sample.id!r}: status {item.status!r} is not one of {', '.join(STATUSES)}")
    if item.status == Status.OK and not item.caption.strip():
        return Status.EMPTY
    return item.status


def references_of(sample: Sample) -> tuple[str, ...]:
    """The references that captions are compared with; a blank one is none."""
    if all(map(str.strip, sample.references)):
        return sample.references
    return tuple(filter(str.strip, sample.references))


def write_signature(name: str, **fields: object) -> str:
    """`name|key:value|...`, in the order given. Fields that are None are left out."""
    return "|".join([name, *(f"{key}:{_short(value)}" for key, value in fields.items() if value is not None)])


def _short(value: object) -> str:
    if isinstance(value, float):
        text = f"{value:g}"
        return text[1:] if text.startswith("0.") else text
    if isinstance(value, (tuple, list)):
        return "/".join(_short(part) for part in value)
    return str(value)


def ratio(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    """Elementwise division in which 0/0 is NaN (unknown) without a warning."""
    out = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    return np.divide(numerator, denominator, out=out, where=denominator != 0)
