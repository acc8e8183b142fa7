"""VDCscore: open questions answered from the caption, the answers marked by a judge (AuroraCap, arXiv 2410.03051).

docs/methods/captionqa.md says what is the paper's and what we changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

from pydantic import Field

from capwright.judges.protocols import Writer
from capwright.scorers._asking import QuestionResult, open_port, sorted_questions, status_of
from capwright.scorers.base import Context, Corpus, Item, ItemStats, Scorer, ScorerSpec
from capwright.scorers.options import JUDGE, NamedJudge, Seed
from capwright.scorers.questions._open_questions import answer_openly, status_of_record, write_records
from capwright.text.digest import fingerprint
from capwright.types import DataError, Question, Sample, Status

_OUTPUTS = ("accuracy", "mark", "abstained", "unanswered")
#: The best mark.
BEST = 5


@dataclass(frozen=True)
class VDCContext(Context):
    """Signature of the judge, and for signatures the number of questions and a digest of them."""

    writer: str
    questions: str


@dataclass(frozen=True, slots=True)
class MarkedResult(QuestionResult):
    """What came of a question: `right` is 1 where the judge took the answer for right, `mark` is from 0 to 5."""

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
        unanswered: questions without an answer or a mark (the judge failed) / questions. They are in no mean; all
            questions of a caption that is unknown for lack of them count here.

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
        of_all=("unanswered",),
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
            evidence = {"questions": [_show(question, one) for question, one in zip(plan, marked)]}
            state, n = status_of(marked), len(marked)
            yield ItemStats(_row(marked) if state == Status.OK else (0, 0, 0, 0, n, n), state, evidence)

    def fields(self, context: VDCContext) -> dict[str, object]:
        """`vdcscore|seed:0|questions:120#3f2a1b7c|by:...|v:1`."""
        return {"seed": self.seed, "questions": context.questions, "by": context.writer}

    def _ask(self, pairs: Sequence[tuple[str, Question]]) -> list[MarkedResult]:
        """What comes of each (caption, question)."""
        asked = [(caption, question.text) for caption, question in pairs]
        said = answer_openly(self._writer, asked, self.seed, "vdcscore")
        to_mark = [
            {"question": question.text, "right": question.answer, "answer": one.text} if one.text else None
            for (_, question), one in zip(pairs, said)
        ]
        records = write_records(self._writer, "mark", to_mark, self.seed, "vdcscore")
        return [
            _mark(one.text, record) if one.text else MarkedResult(one.status, abstained=float(one.abstained))
            for one, record in zip(said, records)
        ]

    @cached_property
    def _writer(self) -> Writer:
        found: Writer = open_port(self.judge, Writer, "vdcscore", "answer open questions")
        return found


def _questions(sample: Sample) -> list[Question]:
    return sorted_questions([question for question in sample.questions if question.answer.strip()])


def _mark(said: str, record: Mapping[str, Any]) -> MarkedResult:
    """The answer with its mark; a mark that is none (out of 0..5, text) is unknown, not 0."""
    status, correct, mark = status_of_record(record), record.get("correct"), record.get("score")
    sound = isinstance(mark, (int, float)) and not isinstance(mark, bool) and 0 <= mark <= BEST
    if status == Status.OK and not (isinstance(correct, bool) and sound):
        status = Status.UNPARSEABLE
    if status != Status.OK:
        return MarkedResult(status, said=said)
    return MarkedResult(status, right=float(record["correct"]), said=said, mark=float(record["score"]))


def _row(marked: Sequence[MarkedResult]) -> tuple[float, ...]:
    known = [one for one in marked if one.known]
    n = len(known)
    right, abstained, mark = (sum(getattr(one, name) for one in known) for name in ("right", "abstained", "mark"))
    return right / n, mark / n, abstained / n, 1, len(marked) - n, len(marked)


def _show(question: Question, one: MarkedResult) -> dict[str, Any]:
    if not one.known:
        result = "unknown"
    elif not one.said:
        result = "abstained"
    else:
        result = "right" if one.right else "wrong"
    return {
        "question": question.text,
        "kind": question.kind,
        "answer": question.answer,
        "said": one.said,
        "result": result,
        "mark": one.mark if one.known else None,
        "status": one.status,
    }
