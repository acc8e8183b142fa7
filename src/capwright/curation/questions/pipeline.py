"""Questions for every image: written, checked, answered with and without the image, and only good ones kept.

The pipeline of arXiv 2509.22647 (CapRL), section 2.2: write, extract, answer with and without the image, filter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, PrivateAttr, model_validator

from capwright.console import count
from capwright.curation.base import Step, StepDecision, StepJournal, StepRun, StepTally
from capwright.curation.questions.duplicates import SAME, repeats
from capwright.curation.questions.extraction import MALFORMED, Candidate, extract, shorten, validate
from capwright.curation.questions.filtering import Filter, judge
from capwright.judges.load import load_judge
from capwright.judges.protocols import Evidence, Reader, Writer
from capwright.types import STATUSES, DataError, Question, Sample

if TYPE_CHECKING:
    from capwright.judges.client.cost_estimate import CostEstimate

#: The key of `meta` that says where the questions of a sample come from.
PROVENANCE = "questions_provenance"
#: What stands for the image when a reader answers.
EVIDENCE = ("image", "references")
#: Why questions were left out, and what people are told, in the order of the pipeline.
REASONS = {
    **MALFORMED,
    "duplicate": "asks the same as an earlier question of the image",
    "not_seen": "not answered right from the image",
    "blind": "answered right without the image",
    "unknown": "an answer could not be had",
}


@dataclass
class QuestionTally(StepTally):
    """What became of everything. `written` is `kept` and the sum of `dropped`, always.

    Attributes:
        written: entries of the writer, good or bad.
        kept: questions in the samples that came out.
        dropped: a reason of `REASONS` -> questions.
        without: samples that came out without a question.
    """

    written: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    without: int = 0

    @property
    def unwritten(self) -> Counter[str]:
        """Status -> samples for which nothing could be written or asked: `unknown`, as it was called before."""
        return self.unknown

    def count(self, sample: Sample, decision: StepDecision, did: str) -> None:
        super().count(sample, decision, did)
        verdicts = Counter(entry["verdict"] for entry in decision.data["questions"])
        self.written += verdicts.total()
        self.kept += verdicts["kept"]
        self.without += not verdicts.pop("kept", 0)
        self.dropped += verdicts

    def numbers(self) -> dict[str, Any]:
        questions = {"written": self.written, "kept": self.kept, "left_out": dict(sorted(self.dropped.items()))}
        return super().numbers() | {"questions": questions, "without_a_question": self.without}

    def lines(self) -> list[str]:
        """The counts in lines for people."""
        said = [f"{self.kept:,} of {count(self.written, 'question')} kept, {count(self.samples, 'sample')}"]
        said += [f"  {self.dropped[key]:,} left out: {text}" for key, text in REASONS.items() if self.dropped[key]]
        if self.without:
            said.append(f"  {count(self.without, 'sample')} without a question")
        for status, n in sorted(self.unwritten.items()):
            said.append(f"  {count(n, 'sample')} could not be asked about (status {status})")
        said += [f"    {sample}: {reason}" for sample, reason in self.failures if reason]
        return said


class MakeQuestions(Step, Filter):
    """Gives samples the questions that were kept, in place of those they had.

    Every sample stays, also one without a question. `meta["questions_provenance"]` says who wrote and who answered,
    with which settings, the accuracies of each question, and how many were left out and why. The questions that were
    left out stand in the journal, with their verdicts. Of a sample with several images the first one is asked about.
    What could not be answered or written (a failed call, a missing image) is tried again by the next job.

    Who is asked is given as in `judges.load_judge`, or is an object that implements `Reader` or `Writer`. When a
    question stays, `Filter` says.

    Raises:
        DataError: a setting is out of range, one who is asked cannot do it, or no question at all was kept.
    """

    name = "questions"
    version = 1
    judge: Any = Field(description="who answers questions about images")
    writer: Any = Field(None, description="who writes; facts (of the kindergarten) or dataset (what is there)")
    blind_judge: Any = Field(None, description="who answers without the image; null: the judge")
    evidence: str | None = Field(None, description="image or references; null: image, but with lexical references")
    per_image: int = Field(5, description="questions to write for each image; CapRL asks 5")
    same: float = Field(SAME, description="how alike two questions must be to ask the same")
    _tally: QuestionTally = PrivateAttr(default_factory=QuestionTally)
    _estimates: bool = PrivateAttr(False)

    @model_validator(mode="after")
    def _usable(self) -> MakeQuestions:
        if self.evidence not in (None, *EVIDENCE):
            raise DataError(f'evidence "{self.evidence}" is not one of {", ".join(EVIDENCE)}')
        if self.per_image < 1:
            raise DataError("questions per image must be at least 1")
        return self

    @cached_property
    def reader(self) -> Any:
        return _load(self.judge, Reader)

    @cached_property
    def blind_reader(self) -> Any:
        return self.reader if self.blind_judge is None else _load(self.blind_judge, Reader)

    @cached_property
    def author(self) -> Any:
        """Who writes; None keeps the questions that are there."""
        writer = self.writer if self.writer is not None else "facts" if _is(self.judge, "lexical") else self.judge
        return None if _is(writer, "dataset") else _load(writer, Writer)

    @property
    def shown(self) -> str:
        """What stands for the image when a reader answers."""
        return self.evidence or ("references" if _is(self.judge, "lexical") else "image")

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "version": self.version,
            "writer": self.author.signature if self.author else "dataset",
            "reader": self.reader.signature,
            "blind_reader": self.blind_reader.signature,
            "evidence": self.shown,
            **{key: getattr(self, key) for key in ("per_image", "same", *Filter.model_fields)},
        }

    def is_final(self, decision: StepDecision) -> bool:
        questions = decision.data.get("questions", [{"verdict": "unknown"}])
        return decision.status == "ok" and all(entry["verdict"] != "unknown" for entry in questions)

    def estimating(self, costs: CostEstimate) -> MakeQuestions:
        """As many questions as are asked for are taken to be written, and all of them are asked blind, too."""
        counted = super().estimating(costs).model_copy(update={"seen": -1.0})
        counted._estimates = True
        return counted

    def finish(self) -> None:
        if self.tally.samples and not self.tally.kept:
            raise DataError("no question was kept:\n" + "\n".join(self.tally.lines()))

    def decide(self, samples: Sequence[Sample]) -> list[StepDecision]:
        evidence = [self._evidence(sample) for sample in samples]
        outcomes: list[tuple[str, str, list[Candidate]]] = []
        for sample in samples:
            lacks = "it has no references" if self.shown == "references" else f"there is no {sample.image}"
            outcomes.append(("missing_image", lacks, []))
        asked = [i for i, each in enumerate(evidence) if each is not None]
        for i, (status, reason, candidates) in zip(asked, self._write([samples[i] for i in asked]), strict=True):
            outcomes[i] = (status, reason, _without_repeats(candidates, self.same))
        left = [(i, j) for i in asked for j, candidate in enumerate(outcomes[i][2]) if not candidate.verdict]
        to_judge = [(evidence[i] or "", samples[i].id, outcomes[i][2][j]) for i, j in left]
        for (i, j), judged in zip(left, judge(to_judge, self.reader, self, self.blind_reader)):
            outcomes[i][2][j] = judged
        return [
            StepDecision(status, reason, data={"questions": [_entry(each) for each in candidates]})
            for status, reason, candidates in outcomes
        ]

    def apply(self, sample: Sample, decision: StepDecision) -> Sample:
        entries = decision.data["questions"]
        kept = [entry for entry in entries if entry["verdict"] == "kept"]
        dropped = Counter(entry["verdict"] for entry in entries if entry["verdict"] != "kept")
        provenance = {
            **self.settings,
            "status": decision.status,
            "written": len(entries),
            "accuracies": [{"seen": entry["seen"], "blind": entry["blind"]} for entry in kept],
            "dropped": dict(sorted(dropped.items())),
        }
        questions = [Question(e["text"], tuple(e["options"]), e["answer"], e["kind"]) for e in kept]
        return replace(sample, questions=tuple(questions), meta={**sample.meta, PROVENANCE: provenance})

    def remembered(self, samples: Iterable[Sample], path: str | Path, data: str, run: StepRun) -> Iterator[Sample]:
        """The step alone, with a journal in the form of `capwright data questions`; `data` tells datasets apart."""
        with StepJournal(path, {**self.settings, "data": data}, "questions") as journal:
            yield from Step.__call__(self, samples, replace(run, journal=journal))

    def _evidence(self, sample: Sample) -> Evidence | None:
        if self.shown == "references":
            return " ".join(reference for reference in sample.references if reference.strip()) or None
        return sample.image if sample.image.is_file() else None

    def _write(self, samples: list[Sample]) -> list[tuple[str, str, list[Candidate]]]:
        """(status, reason, candidates) of each sample."""
        if self.author is None:
            return [("ok", "", [validate(question) for question in sample.questions]) for sample in samples]
        if not samples:
            return []
        given = [
            {"id": sample.id, "image": sample.image, "facts": sample.meta.get("facts", ()), "n": self.per_image}
            for sample in samples
        ]
        written: list[tuple[str, str, list[Candidate]]] = []
        for record in self.author.write("questions", given, seed=self.seed):
            if not isinstance(record, Mapping):
                written.append(("unparseable", "the writer gave no record", []))
            elif (status := record.get("status", "ok")) == "ok":
                candidates = extract(record)
                if self._estimates and all(candidate.verdict for candidate in candidates):
                    candidates = self._made_up(given[len(written)]["id"])
                said = ("ok", "") if candidates else ("unparseable", "the writer wrote no question")
                written.append((*said, candidates))
            else:
                known = status if status in STATUSES else "judge_error"
                written.append((known, shorten(record.get("reason", "")), []))
        return written

    def _made_up(self, id: str) -> list[Candidate]:
        texts = [f"What is thing {number} of {id}?" for number in range(self.per_image)]
        return [Candidate(Question(text, ("a board", "a cube", "a ring", "a rod"), "a board")) for text in texts]


class FilterQuestions(MakeQuestions):
    """Leaves out the questions of samples that cannot be answered with the image, or can be without it."""

    name = "filter_questions"
    writer: Any = Field("dataset", description="nothing is written")


class QuestionMaker(MakeQuestions):
    """`MakeQuestions` by readers and writers at hand, with a journal of its own.

    Args:
        reader: answers questions about images.
        writer: writes questions (its task "questions"); None filters the questions that the samples have.
        rules: when a question stays.
        journal: the file of the journal; None keeps none.
        data: what tells this dataset from others (its fingerprint); a journal of other data is refused.
        options: `blind_reader`, who answers without the image (`reader` by default); `progress` and `chunk` of a
            `StepRun`; and fields of `MakeQuestions`: evidence ("image" by default), per_image, same.

    Raises: as `MakeQuestions`, and DataError where the journal is of other settings.
    """

    _own: tuple[str | Path | None, str, StepRun] = PrivateAttr((None, "", StepRun()))

    def __init__(
        self,
        reader: Any,
        writer: Any,
        rules: Filter | None = None,
        *,
        journal: Any = None,
        data: str = "",
        **options: Any,
    ) -> None:
        run = {key: options.pop(key) for key in ("progress", "chunk") if key in options}
        options |= {"judge": reader, "writer": "dataset" if writer is None else writer}
        super().__init__(blind_judge=options.pop("blind_reader", None), **dict(rules or Filter()), **options)
        self._own = (journal, data, StepRun(**run))

    def __call__(self, samples: Iterable[Sample], run: StepRun | None = None) -> Iterator[Sample]:
        path, data, own = self._own
        return super().__call__(samples, own) if path is None else self.remembered(samples, path, data, own)


def _is(judge: Any, name: str) -> bool:
    return (judge.get("name") if isinstance(judge, Mapping) else judge) == name


def _load(judge: Any, port: type) -> Any:
    """Who is asked, by name or at hand. Raises DataError where they cannot do what `port` asks."""
    found = load_judge(judge) if isinstance(judge, (str, Mapping)) else judge
    if not isinstance(found, port):
        doing = "write questions; use --writer facts or dataset" if port is Writer else "answer questions"
        name = judge.get("name") if isinstance(judge, Mapping) else judge
        raise DataError(f"the judge {name} cannot {doing}")
    return found


def _without_repeats(candidates: list[Candidate], same: float) -> list[Candidate]:
    left = [i for i, candidate in enumerate(candidates) if not candidate.verdict]
    for i, earlier in zip(left, repeats([candidates[i].question for i in left], same)):
        if earlier is not None:
            of = candidates[left[earlier]].question.text
            candidates[i] = replace(candidates[i], verdict="duplicate", note=of)
    return candidates


def _entry(candidate: Candidate) -> dict[str, Any]:
    """A candidate as it stands in the journal."""
    asked = candidate.question
    entry = {"text": asked.text, "options": list(asked.options), "answer": asked.answer, "kind": asked.kind}
    return entry | {key: getattr(candidate, key) for key in ("verdict", "seen", "blind", "note")}
