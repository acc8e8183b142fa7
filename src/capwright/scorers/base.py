"""The one ruler: a scorer turns captions into additive statistics, and statistics into scores.

Every scorer, whether it is used to evaluate or to train, follows the same three steps:

    context = scorer.prepare(corpus)           # idf tables, term tables, question banks; frozen, has a fingerprint
    stats   = scorer.stats(items, context)     # additive rows, one or more for each caption
    scores  = scorer.finalize(summed_rows)     # sums of rows -> scores

A scorer says what it is (`spec`) and what it finds about each caption (`measure`); its options are its fields, checked
by their types (`options`).

Because rows add up, the score of one caption is `finalize(row)`, the score of a corpus is `finalize(rows.sum(0))`,
and a bootstrap is `finalize(weights @ rows)`: one formula, no special cases.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from capwright.scorers.options import CheckedOptions
from capwright.text.digest import fingerprint
from capwright.types import STATUSES, Sample, ScorerError, Status, Vocabulary

#: Statuses that carry a score. A caption with any other status is unknown: it is counted, never scored as zero.
SCORED = (Status.OK, Status.EMPTY)

UNITS = ("item", "item|ctx", "set")


@dataclass(frozen=True, slots=True)
class ScorerSpec:
    """What a scorer is, without making it.

    Attributes:
        name: short name, the key in reports ("tts").
        version: changes whenever the same captions could get another number.
        outputs: names of the scores; by default one, the name. A context may add more (see `Context.outputs`).
        ranges: (low, high) of each output; the key "tier" covers every output named "tier:...". Infinite if unbounded,
            as outputs are that are not named. Without ranges all outputs are from 0 to 1.
        needs: what must be there: "terms", "references", "image", "questions", "judge", "java" ...
        unit: "item" (a caption has a score of its own), "item|ctx" (it has one given a context: an idf table, a pool,
            a term table), or "set" (only a set of captions has one; such a scorer cannot be a reward). A set scorer
            is given all captions in one call, and its rows are linearized: (value + (n - 1) * (mean of the
            leave-one-out values - the value without this caption), 1) for each output, so that their mean is the value
            of the set and resampling them has the variance of the jackknife.
        higher_is_better: None when neither direction is (length).
        cost: "free" (string work), "model" (a local model runs), "calls" (a judge is asked, and paid).
        of_all: outputs that are about the measuring (the share of questions without an answer): they count captions
            that are unknown, too, in whose rows nothing else stands.
        rewards: names of values in [0, 1] made for training only, computed by `shape(rows)`; the first is the default
            reward. Empty when the headline output is the reward.
        main: the output that stands for the scorer, where that is not the first.
        about: what it measures, in a few words, for tables of scorers.
        source: the paper or program that it is from ("arXiv 1411.5726", "W15-3049").
        page: the page about it in docs/methods; by default that of its name.
        titles: how the scorer and its scores are written for people: {"ciderD": "CIDEr-D", "length.words": "Words"}.
    """

    name: str
    version: str = "1"
    outputs: tuple[str, ...] = ()
    ranges: Mapping[str, tuple[float, float]] | None = None
    needs: Iterable[str] = frozenset()
    unit: str = "item"
    higher_is_better: bool | None = True
    cost: str = "free"
    of_all: tuple[str, ...] = ()
    rewards: tuple[str, ...] = ()
    main: str = ""
    about: str = ""
    source: str = ""
    page: str = ""
    titles: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        outputs = self.outputs or (self.name,)
        if self.unit not in UNITS:
            raise ScorerError(f"{self.name}: unit {self.unit!r} is not one of {', '.join(UNITS)}")
        if self.main and self.main not in outputs:
            raise ScorerError(f"{self.name}: main {self.main!r} is not one of its outputs {', '.join(outputs)}")
        object.__setattr__(self, "outputs", outputs)
        object.__setattr__(self, "needs", frozenset(self.needs))
        object.__setattr__(self, "page", self.page or self.name)
        ranges = dict.fromkeys(outputs, (0.0, 1.0)) if self.ranges is None else dict(self.ranges)
        object.__setattr__(self, "ranges", MappingProxyType(ranges))

    @property
    def headline(self) -> str:
        """The output that stands for the scorer."""
        return self.main or self.outputs[0]

    def range_of(self, output: str) -> tuple[float, float]:
        """(low, high) of an output; "tier:rare" falls back to the range of "tier". (-inf, inf) when undeclared."""
        if output in self.rewards:
            return 0.0, 1.0
        ranges = self.ranges or {}
        return ranges.get(output, ranges.get(output.partition(":")[0], (-math.inf, math.inf)))


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

    def extend(self, kind: type[C], *content: object, **more: Any) -> C:
        """This context as one of another type, with what that adds; `content` (JSON values) joins the fingerprint."""
        return kind(**vars(self) | more | {"fingerprint": fingerprint([self.fingerprint, *content])})


C = TypeVar("C", bound=Context)


class ItemStats(NamedTuple):
    """What was found about one item: its row, or None when it is unknown.

    `status` says why it is unknown; None with "ok" says that there is nothing to compare with (a sample without
    references). A status other than "ok" takes the place of that of the item.
    """

    row: Sequence[float] | NDArray[np.float64] | None
    status: str = Status.OK
    evidence: dict[str, Any] | None = None


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

    @classmethod
    def of(
        cls,
        rows: NDArray[np.float64],
        status: Sequence[str],
        evidence: Sequence[dict[str, Any] | None] | None = None,
        owner: Sequence[int] | None = None,
    ) -> Stats:
        """Rows with their status: one an item in their order, if no owners are given."""
        owners = np.array(range(len(rows)) if owner is None else owner, dtype=np.int64)
        return cls(rows, owners, tuple(status), (None,) * len(rows) if evidence is None else tuple(evidence))

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


class Scorer(Generic[C], metaclass=CheckedOptions):
    """What every metric is. See the module text for how the three steps fit together.

    A scorer of one's own says `spec`, and `measure` or `stats`; the rest has defaults, which fit a scorer that learns
    nothing and whose score is the mean of its captions' scores. Options are fields of a dataclass, or keyword
    parameters of `__init__`.

    Attributes:
        spec: what the scorer is; where that depends on options, of the object.
        context_type: what its `prepare` returns.
        columns: names of the columns of its rows; by default the outputs, then a 1.
        ratios: for each output the two columns whose sums `finalize` divides, if scores are nothing else.
    """

    spec: ScorerSpec
    context_type: ClassVar[type[Context]] = Context
    columns: tuple[str, ...] = ()
    ratios: tuple[tuple[str, str], ...] = ()

    def prepare(self, corpus: Corpus) -> C:
        """Learn from a corpus what scores depend on. Raises DataError when the corpus does not have what is needed."""
        return self.make_context(self.spec.name)

    def stats(self, items: Sequence[Item], context: Context) -> Stats:
        """Measure captions: additive rows with owner, status and evidence."""
        own = self.own_context(context)
        status = list(map(item_status, items))
        rows = np.zeros((len(items), self.width(own)))
        evidence: list[dict[str, Any] | None] = [None] * len(items)
        scored = [i for i, state in enumerate(status) if state in SCORED]
        measured = list(self.measure([items[i] for i in scored], own) or ())
        fits = [isinstance(one, ItemStats) and (one.row is None or len(one.row) == rows.shape[1]) for one in measured]
        if len(fits) != len(scored) or not all(fits):  # a shorter row would be spread over the columns
            what = f"an ItemStats for each caption, with a row of {rows.shape[1]} numbers"
            raise ScorerError(f"{self.spec.name}: measure() must give {what}")
        for i, found in zip(scored, measured):
            evidence[i] = found.evidence
            if found.row is not None:
                rows[i] = found.row
            if found.status != Status.OK:
                status[i] = found.status
        return Stats.of(rows, status, evidence)

    def measure(self, items: Sequence[Item], context: C) -> Iterable[ItemStats]:
        """What is found about each item. All have a status of `SCORED`; captions may be blank."""
        raise ScorerError(f"{self.spec.name}: has neither measure() nor stats()")

    def width(self, context: C) -> int:
        """How many columns rows have."""
        return len(self.columns) or len(context.outputs) + 1

    def finalize(self, summed: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores [..., m] of summed rows [..., k], columns in the order of `context.outputs`. 0/0 is NaN: unknown.

        Without `ratios` means: of rows (value of each output, 1).
        """
        summed = np.asarray(summed, dtype=np.float64)
        if not self.ratios:
            return ratio(summed[..., :-1], summed[..., -1:])
        above, below = (list(map(self.columns.index, columns)) for columns in zip(*self.ratios))
        return ratio(summed[..., above], summed[..., below])

    def signature(self, context: Context) -> str:
        """One line with everything that can change the number; equal signatures are comparable numbers."""
        return write_signature(self.spec.name, **self.fields(self.own_context(context)), v=self.spec.version)

    def fields(self, context: C) -> Mapping[str, object]:
        """What stands in the signature between the name and the version."""
        return {}

    def make_context(self, content: object, outputs: tuple[str, ...] = (), **more: Any) -> C:
        """A context of this scorer, with the fingerprint of `content` (a JSON value) and what its type adds."""
        made = self.context_type(self.spec.name, fingerprint(content), outputs or self.spec.outputs, **more)
        return cast(C, made)

    def own_context(self, context: Context) -> C:
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


def by_image(items: Sequence[Item]) -> tuple[list[list[int]], list[str]]:
    """Places of the items of each image (`sample.id`), and its status: of its first unknown caption, or the first."""
    images: dict[str, list[int]] = {}
    for index, item in enumerate(items):
        images.setdefault(item.sample.id, []).append(index)
    states = list(map(item_status, items))
    status = [
        next((states[index] for index in members if states[index] not in SCORED), states[members[0]])
        for members in images.values()
    ]
    return list(images.values()), status


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
