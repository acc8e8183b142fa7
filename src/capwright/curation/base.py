"""The seam of curation: a step takes samples and gives samples, and what it decided about each is kept.

    class Shorten(Step):
        '''Leaves out samples whose references are all longer than `words` words.'''

        name = "shorten"
        words: int = Field(20, ge=1, description="the most words of a reference")

        def decide(self, samples):
            long = [all(len(text.split()) > self.words for text in sample.references) for sample in samples]
            return [StepDecision(drop="too long" if each else "") for each in long]

The fields of a step are its options, checked by pydantic. What takes long (asking a judge, decoding images) belongs
into `decide`, whose answers a journal remembers; what can be done again at any time, into `apply`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pydantic import PrivateAttr

from capwright.console import count
from capwright.curation.journal import StepDecision, StepJournal
from capwright.data.sample_rows import to_row
from capwright.recipes.parts import Config
from capwright.scorers.base import Corpus, write_signature
from capwright.text.digest import fingerprint
from capwright.types import DataError, Sample, Vocabulary

if TYPE_CHECKING:
    from capwright.judges.client.cost_estimate import CostEstimate

S = TypeVar("S", bound="Step")

#: The status of what has no answer, such as a ratio 0/0: unknown, and asking again would not change it.
UNDEFINED = "undefined"


@dataclass
class StepTally:
    """What became of the samples of a step. `samples` is `left` and the sum of `dropped_samples`, always.

    Attributes:
        samples: how many came in.
        resumed: of these, how many were in the journal already.
        changed: how many went on other than they came.
        dropped_samples: why -> how many were left out.
        unknown: status -> samples of which nothing could be said.
        failures: (id, reason) of the first few of them.
    """

    samples: int = 0
    resumed: int = 0
    changed: int = 0
    dropped_samples: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[str, str]] = field(default_factory=list)

    @property
    def left(self) -> int:
        """How many samples went on."""
        return self.samples - self.dropped_samples.total()

    def count(self, sample: Sample, decision: StepDecision, did: str) -> None:
        """Take in what became of one sample."""
        self.samples += 1
        self.changed += did == "changed"
        if decision.drop:
            self.dropped_samples[decision.drop] += 1
        if decision.status != "ok":
            self.unknown[decision.status] += 1
            self.failures += [(sample.id, decision.reason)] if len(self.failures) < 10 else []

    def lines(self) -> list[str]:
        """The counts in lines for people."""
        said = [f"{self.left:,} of {count(self.samples, 'sample')} went on, {self.changed:,} of them changed"]
        said += [f"  {n:,} left out: {why}" for why, n in sorted(self.dropped_samples.items())]
        said += [f"  {n:,} unknown (status {status})" for status, n in sorted(self.unknown.items())]
        return said + [f"    {sample}: {reason}" for sample, reason in self.failures if reason]

    def numbers(self) -> dict[str, Any]:
        """What of it does not depend on how often the job was stopped, as JSON values."""
        counted = {"in": self.samples, "out": self.left, "changed": self.changed}
        return counted | {"left_out": dict(sorted(self.dropped_samples.items())), "unknown": dict(self.unknown)}


@dataclass
class StepRun:
    """What a step is run with, besides samples.

    Attributes:
        label: what the step is called in the journal; its name by default.
        journal: remembers what was decided.
        vocabulary: of the dataset.
        progress: called with the number of samples that are done.
        chunk: how many samples are decided together; as the step says by default.
        estimates: whether only costs are wanted, so that a result of no use is no error.
    """

    label: str = ""
    journal: StepJournal | None = None
    vocabulary: Vocabulary = field(default_factory=lambda: Vocabulary({}))
    progress: Callable[[int], None] | None = None
    chunk: int | None = None
    estimates: bool = False


class Step(Config, ABC):
    """Something that is done to samples; frozen, its fields are its options. See the module text.

    A step never changes the samples it is given, keeps their order, and draws at random from its `seed` and the ids of
    samples alone. A recipe fills in fields called `seed` and `judge` that it does not give.

    Attributes:
        name: what recipes and journals call it.
        version: changes when the same samples and options could lead to other results.
        whole: whether `prepare` has to see all samples before the first is decided; they are held in memory then.
        chunk: how many samples are decided together, which must not matter; None: all of them, for steps that are
            `whole`, and then it may.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    whole: ClassVar[bool] = False
    chunk: ClassVar[int | None] = 16
    _tally: StepTally = PrivateAttr(default_factory=StepTally)

    @abstractmethod
    def decide(self, samples: Sequence[Sample]) -> Sequence[StepDecision]:
        """One decision a sample, in order. What fails for one sample is a status; only an outage is raised."""

    def apply(self, sample: Sample, decision: StepDecision) -> Sample:
        """The sample as it goes on; called of those that are not left out."""
        return sample

    def prepare(self, corpus: Corpus) -> str:
        """Look at all samples, if `whole`; a digest of what decisions depend on besides the sample itself."""
        return fingerprint([_digest(sample) for sample in corpus.samples])

    def is_final(self, decision: StepDecision) -> bool:
        """Whether nothing would be gained by deciding again."""
        return decision.status in ("ok", UNDEFINED)

    def finish(self) -> None:
        """Called when all samples went through. Raises DataError when the result is of no use."""

    @property
    def tally(self) -> Any:
        """What became of the samples of the last run, complete when the last one was taken."""
        return self._tally

    @property
    def option_values(self) -> dict[str, Any]:
        """The options as they were given, or by default."""
        return {key: getattr(self, key) for key in type(self).model_fields}

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that decides the result, as JSON values; judges that are at hand by their signatures."""
        options = {key: getattr(value, "signature", value) for key, value in self.option_values.items()}
        return {"version": self.version, **options}

    @property
    def signature(self) -> str:
        """One line with all of it."""
        fields = {key: value for key, value in self.settings.items() if key != "version"}
        return write_signature(self.name, **fields, v=self.version)

    def estimating(self: S, costs: CostEstimate) -> S:
        """The same step, asking judges that count what they would be asked and answer nothing."""
        from capwright.judges.client.cost_estimate import counted_options

        return type(self)(**(counted_options(self.option_values, costs) or self.option_values))

    def __call__(self, samples: Iterable[Sample], run: StepRun | None = None) -> Iterator[Sample]:
        """The samples that go on, in order. Raises what `decide`, `finish` and the journal raise."""
        run = run or StepRun()
        tally = self._tally = type(self._tally)()
        context = ""
        if self.whole:
            samples = list(samples)
            context = self.prepare(Corpus(samples, run.vocabulary))
        coming = iter(samples)
        while chunk := list(islice(coming, run.chunk or self.chunk)):
            for sample, decision, did, after in self._decided(chunk, context, run):
                tally.count(sample, decision, did)
                if not decision.drop:
                    yield after
            if run.progress:
                run.progress(tally.samples)
        if not run.estimates:
            self.finish()

    def _decided(
        self, samples: list[Sample], context: str, run: StepRun
    ) -> list[tuple[Sample, StepDecision, str, Sample]]:
        """Each sample, what was decided and done, and the sample as it goes on; all that is new is in the journal."""
        label = run.label or self.name
        given = [fingerprint([_digest(sample), context]) if run.journal else "" for sample in samples]
        decided: list[StepDecision | None] = [None] * len(samples)
        if run.journal:
            found = [run.journal.find(label, sample.id, digest) for sample, digest in zip(samples, given)]
            decided = [known if known is not None and self.is_final(known) else None for known in found]
        if self.chunk is None and None in decided:
            decided = [None] * len(samples)
        asked = [sample for sample, known in zip(samples, decided) if known is None]
        self._tally.resumed += len(samples) - len(asked)
        made = list(self.decide(asked) or ()) if asked else []
        if len(made) != len(asked) or not all(isinstance(one, StepDecision) for one in made):
            raise DataError(f"step {self.name}: decide() must give a StepDecision for each sample")
        new = iter(made)
        finished = []
        for sample, digest, known in zip(samples, given, decided):
            decision = known if known is not None else next(new)
            after = sample if decision.drop else self.apply(sample, decision)
            if not isinstance(after, Sample):
                raise DataError(f"step {self.name}: apply() must give a Sample, not {after!r}")
            did = _did(sample, after, decision)
            if run.journal and known is None:
                run.journal.record(label, sample.id, digest, did, decision)
            finished.append((sample, decision, did, after))
        return finished


def _did(before: Sample, after: Sample, decision: StepDecision) -> str:
    """What the journal says of a sample in a word."""
    if decision.drop:
        return "dropped"
    return "unknown" if decision.status != "ok" else "kept" if after == before else "changed"


def _digest(sample: Sample) -> str:
    """Of all that is known of a sample; of its images the names, so that a dataset may be moved."""
    return fingerprint(to_row(sample, [image.name for image in sample.images]))
