"""Questions for every image: written, checked, answered with and without the image, and only good ones kept.

The pipeline of arXiv 2509.22647 (CapRL), section 2.2: write, extract, answer with and without the image, filter.
`QuestionMaker` is that, as one step from samples to samples, with a journal from which a killed job goes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from capwright.curation.journal import QuestionJournal
from capwright.curation.questions.duplicates import SAME, repeats
from capwright.curation.questions.extraction import MALFORMED, Candidate, extract, shorten, validate
from capwright.curation.questions.filtering import Filter, judge
from capwright.judges.protocols import Evidence, Reader, Writer
from capwright.types import STATUSES, DataError, Question, Sample

#: The key of `meta` that says where the questions of a sample come from.
PROVENANCE = "questions_provenance"
#: Changes when the same answers could lead to other questions.
VERSION = 1
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
class QuestionTally:
    """What became of everything. `written` is `kept` and the sum of `dropped`, always.

    Attributes:
        samples: how many went through.
        resumed: of these, how many were in the journal already.
        written: entries of the writer, good or bad.
        kept: questions in the samples that came out.
        dropped: a reason of `REASONS` -> questions.
        unwritten: status -> samples for which nothing could be written or asked.
        without: samples that came out without a question.
        failures: (id, reason) of the first few samples of `unwritten`.
    """

    samples: int = 0
    resumed: int = 0
    written: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    unwritten: Counter[str] = field(default_factory=Counter)
    without: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)

    def count(self, row: Mapping[str, Any]) -> None:
        """Take in what became of one sample."""
        self.samples += 1
        verdicts = Counter(entry["verdict"] for entry in row["questions"])
        self.written += verdicts.total()
        self.kept += verdicts["kept"]
        self.without += not verdicts.pop("kept", 0)
        self.dropped += verdicts
        if row["status"] != "ok":
            self.unwritten[row["status"]] += 1
            if len(self.failures) < 10:
                self.failures.append((row["id"], row["reason"]))

    def lines(self) -> list[str]:
        """The counts in lines for people."""
        said = [f"{self.kept:,} of {_count(self.written, 'question')} kept, {_count(self.samples, 'sample')}"]
        said += [f"  {self.dropped[key]:,} left out: {text}" for key, text in REASONS.items() if self.dropped[key]]
        if self.without:
            said.append(f"  {_count(self.without, 'sample')} without a question")
        for status, n in sorted(self.unwritten.items()):
            said.append(f"  {_count(n, 'sample')} could not be asked about (status {status})")
        said += [f"    {sample}: {reason}" for sample, reason in self.failures if reason]
        return said


class QuestionMaker:
    """A step: samples in, the same samples with the questions that were kept out. Earlier questions are replaced.

    Every sample stays, also one without a question. `meta["questions_provenance"]` says who wrote and who answered,
    with which settings, the accuracies of each question, and how many were left out and why. The questions that were
    left out stand in the journal, with their verdicts. Of a sample with several images the first one is asked about.

    The same settings and answers give the same samples, whatever `chunk` is and however often the job was killed. What
    could not be answered or written (a failed call, a missing image) is tried again by the next job on the journal.

    Args:
        reader: answers questions about images.
        writer: writes questions (its task "questions"); None filters the questions that the samples have.
        rules: when a question stays.
        blind_reader: who answers without the image; `reader` by default.
        evidence: "image", or "references": the references of the sample stand for the image, for readers of text.
        per_image: how many questions are asked of the writer for each image. CapRL asks 5.
        same: how alike two questions must be to ask the same; see `duplicates.repeats`.
        journal: the file of the journal; None keeps none.
        data: what tells this dataset from others (its fingerprint); a journal of other data is refused.
        chunk: samples whose questions go to the writer and the reader together.
        progress: called with the number of samples that are done.

    Raises:
        DataError: a setting is out of range, the journal is of other settings, or no question at all was kept.
    """

    def __init__(
        self,
        reader: Reader,
        writer: Writer | None,
        rules: Filter | None = None,
        *,
        blind_reader: Reader | None = None,
        evidence: str = "image",
        per_image: int = 5,
        same: float = SAME,
        journal: str | Path | None = None,
        data: str = "",
        chunk: int = 16,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        if evidence not in EVIDENCE:
            raise DataError(f'evidence "{evidence}" is not one of {", ".join(EVIDENCE)}')
        if per_image < 1 or chunk < 1:
            raise DataError("questions per image and samples per chunk must be at least 1")
        self._reader, self._writer, self._blind_reader = reader, writer, blind_reader
        self._rules = rules or Filter()
        self._evidence, self._per_image, self._same = evidence, per_image, same
        self._journal, self._data, self._chunk, self._progress = journal, data, chunk, progress
        self.tally = QuestionTally()

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that decides which questions are kept, as JSON values."""
        return {
            "version": VERSION,
            "writer": self._writer.signature if self._writer else "dataset",
            "reader": self._reader.signature,
            "blind_reader": (self._blind_reader or self._reader).signature,
            "evidence": self._evidence,
            "per_image": self._per_image,
            "same": self._same,
            **asdict(self._rules),
        }

    def __call__(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        """The samples with their questions, in order; `tally` is complete when the last one was taken."""
        self.tally = QuestionTally()
        with ExitStack() as stack:
            journal = None
            if self._journal is not None:
                journal = stack.enter_context(QuestionJournal(self._journal, {**self.settings, "data": self._data}))
            left = iter(samples)
            while chunk := list(islice(left, self._chunk)):
                known = [journal.find(sample.id) for sample in chunk] if journal else []
                done = {row["id"]: row for row in known if row is not None and _is_final(row)}
                self.tally.resumed += len(done)
                for row in self._rows([sample for sample in chunk if sample.id not in done]):
                    if journal:
                        journal.add(row)
                    done[row["id"]] = row
                for sample in chunk:
                    self.tally.count(done[sample.id])
                    yield self._finished(sample, done[sample.id])
                if self._progress:
                    self._progress(self.tally.samples)
        if self.tally.samples and not self.tally.kept:
            raise DataError("no question was kept:\n" + "\n".join(self.tally.lines()))

    def _rows(self, samples: list[Sample]) -> list[dict[str, Any]]:
        """What becomes of each sample, as a row of the journal."""
        rows, shown = [], []
        for sample in samples:
            evidence = self._shown(sample)
            missing = "it has no references" if self._evidence == "references" else f"there is no {sample.image}"
            status, reason = ("ok", "") if evidence is not None else ("missing_image", missing)
            rows.append({"id": sample.id, "status": status, "reason": reason})
            shown.append(evidence)
        asked = [i for i, row in enumerate(rows) if row["status"] == "ok"]
        found: list[list[Candidate]] = [[] for _ in rows]
        for i, (status, reason, candidates) in zip(asked, self._write([samples[i] for i in asked]), strict=True):
            rows[i] |= {"status": status, "reason": reason}
            found[i] = _without_repeats(candidates, self._same)
        left = [(i, j) for i in asked for j, candidate in enumerate(found[i]) if not candidate.verdict]
        to_judge = [(shown[i] or "", samples[i].id, found[i][j]) for i, j in left]
        for (i, j), judged in zip(left, judge(to_judge, self._reader, self._rules, self._blind_reader)):
            found[i][j] = judged
        return [row | {"questions": [_entry(each) for each in every]} for row, every in zip(rows, found)]

    def _shown(self, sample: Sample) -> Evidence | None:
        if self._evidence == "references":
            return " ".join(reference for reference in sample.references if reference.strip()) or None
        return sample.image if sample.image.is_file() else None

    def _write(self, samples: list[Sample]) -> list[tuple[str, str, list[Candidate]]]:
        """(status, reason, candidates) of each sample."""
        if self._writer is None:
            return [("ok", "", [validate(question) for question in sample.questions]) for sample in samples]
        if not samples:
            return []
        given = [
            {"id": sample.id, "image": sample.image, "facts": sample.meta.get("facts", ()), "n": self._per_image}
            for sample in samples
        ]
        written: list[tuple[str, str, list[Candidate]]] = []
        for record in self._writer.write("questions", given, seed=self._rules.seed):
            if not isinstance(record, Mapping):
                written.append(("unparseable", "the writer gave no record", []))
            elif (status := record.get("status", "ok")) == "ok":
                candidates = extract(record)
                said = ("ok", "") if candidates else ("unparseable", "the writer wrote no question")
                written.append((*said, candidates))
            else:
                known = status if status in STATUSES else "judge_error"
                written.append((known, shorten(record.get("reason", "")), []))
        return written

    def _finished(self, sample: Sample, row: Mapping[str, Any]) -> Sample:
        kept = [entry for entry in row["questions"] if entry["verdict"] == "kept"]
        dropped = Counter(entry["verdict"] for entry in row["questions"] if entry["verdict"] != "kept")
        provenance = {
            **self.settings,
            "status": row["status"],
            "written": len(row["questions"]),
            "accuracies": [{"seen": entry["seen"], "blind": entry["blind"]} for entry in kept],
            "dropped": dict(sorted(dropped.items())),
        }
        questions = [Question(e["text"], tuple(e["options"]), e["answer"], e["kind"]) for e in kept]
        return replace(sample, questions=tuple(questions), meta={**sample.meta, PROVENANCE: provenance})


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
    return entry | {
        "verdict": candidate.verdict, "seen": candidate.seen, "blind": candidate.blind, "note": candidate.note,
    }  # fmt: skip


def _is_final(row: Mapping[str, Any]) -> bool:
    """Whether nothing would be gained by asking about a sample again."""
    return row["status"] == "ok" and all(entry["verdict"] != "unknown" for entry in row["questions"])


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
