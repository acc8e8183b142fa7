"""VDCscore: open questions answered from the caption, the answers marked by a judge (AuroraCap, arXiv 2410.03051).

docs/methods/captionqa.md says what is the paper's and what we changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

from pydantic import Field

from capwright.judges.protocols import Writer
from capwright.scorers._asking import QuestionResult, open_port, sorted_questions, status_of
from capwright.scorers.base import Context, Corpus, Item, ItemStats, Scorer, ScorerSpec
from capwright.scorers.options import JUDGE, NamedJudge, Seed
from capwright.scorers.questions._open_questions import OpenAnswer, answer_openly, status_of_record, write_records
from capwright.text.digest import fingerprint
from capwright.types import DataError, Question, Sample

_OUTPUTS = ("accuracy", "mark", "abstained", "unanswered")
#: The best mark.
BEST = 5


@dataclass(frozen=True)
class VDCContext(Context):
    """Signature of the judge, and for signatures the number of questions and a digest of them."""

    writer: str
    questions: str


@dataclass(frozen=True, slots=True)
class Marked:
    """What came of a question: the answer, whether the judge took it for right, and its mark from 0 to 5."""

    status: str
    said: str = ""
    correct: bool = False
    mark: float = 0.0


@dataclass(eq=False)
class VDCScore(Scorer[VDCContext]):
    """The scorer `vdcscore`: a reader answers open questions from the caption, and a judge compares with the answers.

    Every question that has an answer is asked, without its options where it has some. An answer that the caption does
    not tell is wrong and is not marked. Outputs:
        accuracy: share of answers that the judge takes for right, in [0, 1]: the mean over images of each image's own
            share. The headline and the reward.
        mark: mean mark, 0 (nothing in common) to 5 (the same in meaning), in the same way.
        abstained: share of answers that the caption did not tell, in the same way.
        unanswered: questions without an answer or a mark (the judge failed) / questions. They are in no mean.

    A caption without words tells nothing, and no judge is asked. A sample without questions is NaN. A caption of which
    less than half of the questions are settled is unknown.

    Args:
        judge: who answers and marks: {"name": "http://host:port/v1", "model": ...}, "local:FOLDER", or an object
            that is a `protocols.Writer` and knows the tasks "answer" and "mark". "lexical" only chooses among options:
            `prepare` refuses it.
        seed: given to the judge.
    """

    spec = ScorerSpec(
        name="vdcscore",
        outputs=_OUTPUTS,
        ranges=dict.fromkeys(_OUTPUTS, (0.0, 1.0)) | {"mark": (0.0, float(BEST))},
        needs={"questions", "judge"},
        unit="item|ctx",
        cost="calls",
        about="open questions about the image answered from the caption, the answers marked by a judge",
        source="arXiv 2410.03051",
        page="captionqa",
    )
    context_type = VDCContext
    columns = ("right", "mark", "abstained", "captions", "unanswered", "questions")
    ratios = (*((share, "captions") for share in columns[:3]), ("unanswered", "questions"))

    judge: Annotated[NamedJudge | Writer, Field(description=JUDGE.format("Writer"))] = "lexical"
    seed: Seed = 0

    def prepare(self, corpus: Corpus) -> VDCContext:
        """Gather the questions and open the judge.

        Raises DataError when no question has an answer, ScorerError for a judge that does not write.
        """
        table = {sample.id: [[q.text, q.answer] for q in _questions(sample)] for sample in corpus.samples}
        count = sum(map(len, table.values()))
        if not count:
            raise DataError('vdcscore: no sample has a question with an answer; add "questions" to samples.jsonl')
        signature = self._writer.signature
        digest = fingerprint(table)
        content = ["vdcscore", signature, digest, self.seed]
        return self.make_context(content, writer=signature, questions=f"{count}#{digest[:8]}")

    def measure(self, items: Sequence[Item], context: VDCContext) -> Iterator[ItemStats]:
        """Rows (share right, mean mark, share abstained, 1, unanswered, questions); unknown without questions.

        The judge is called twice: for all answers, and for all marks. Evidence: {"questions": [{"question", "kind",
        "answer", "said", "result", "mark", "status"}, ...]}, where "result" is "right", "wrong", "abstained" or
        "unknown".
        """
        plans = [_questions(item.sample) for item in items]
        found = iter(self._ask([(item.caption, question) for item, plan in zip(items, plans) for question in plan]))
        for plan in plans:
            if not plan:
                yield ItemStats(None)
                continue
            marked = [next(found) for _ in plan]
            state = status_of([QuestionResult(one.status) for one in marked])
            evidence = {"questions": [_show(question, one) for question, one in zip(plan, marked)]}
            yield ItemStats(_row(marked) if state == "ok" else None, state, evidence)

    def fields(self, context: VDCContext) -> dict[str, object]:
        """`vdcscore|seed:0|questions:120#3f2a1b7c|by:...|v:1`."""
        return {"seed": self.seed, "questions": context.questions, "by": context.writer}

    def _ask(self, pairs: Sequence[tuple[str, Question]]) -> list[Marked]:
        """What comes of each (caption, question); what is asked twice is asked once."""
        asked = [(caption, question.text) for caption, question in pairs]
        said = answer_openly(self._writer, asked, self.seed, "vdcscore") if asked else []
        marks = [
            (question.text, question.answer, one.text) for (_, question), one in zip(pairs, said) if _to_be_marked(one)
        ]
        unique = list(dict.fromkeys(marks))
        given = [{"question": text, "right": right, "answer": told} for text, right, told in unique]
        records = write_records(self._writer, "mark", given, self.seed, "vdcscore") if given else []
        marked = dict(zip(unique, records))
        return [
            _mark(one.text, marked[question.text, question.answer, one.text])
            if _to_be_marked(one)
            else Marked(one.status)
            for (_, question), one in zip(pairs, said)
        ]

    @cached_property
    def _writer(self) -> Writer:
        found: Writer = open_port(self.judge, Writer, "vdcscore", "answer open questions")
        return found


def _questions(sample: Sample) -> list[Question]:
    return sorted_questions([question for question in sample.questions if question.answer.strip()])


def _to_be_marked(one: OpenAnswer) -> bool:
    return one.status == "ok" and bool(one.text)


def _mark(said: str, record: Mapping[str, Any]) -> Marked:
    """The answer with its mark; a mark that is none (out of 0..5, text) is unknown, not 0."""
    status, correct, mark = status_of_record(record), record.get("correct"), record.get("score")
    if status != "ok":
        return Marked(status, said)
    sound = isinstance(mark, (int, float)) and not isinstance(mark, bool) and 0 <= mark <= BEST
    if not isinstance(correct, bool) or not sound:
        return Marked("unparseable", said)
    return Marked("ok", said, correct, float(record["score"]))


def _row(marked: Sequence[Marked]) -> tuple[float, ...]:
    known = [one for one in marked if one.status == "ok"]
    counts = Counter(right=sum(one.correct for one in known), silent=sum(not one.said for one in known))
    n = len(known)
    mark = sum(one.mark for one in known) / n
    return counts["right"] / n, mark, counts["silent"] / n, 1, len(marked) - n, len(marked)


def _show(question: Question, one: Marked) -> dict[str, Any]:
    if one.status != "ok":
        result = "unknown"
    elif not one.said:
        result = "abstained"
    else:
        result = "right" if one.correct else "wrong"
    return {
        "question": question.text,
        "kind": question.kind,
        "answer": question.answer,
        "said": one.said,
        "result": result,
        "mark": one.mark if one.status == "ok" else None,
        "status": one.status,
    }
