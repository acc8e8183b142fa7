"""Scorers whose unit is a question about the image, answered from the caption: the part they share.

A scorer says which questions are asked about a caption and what an abstention is worth; this class asks them all in
one call, adds them up, and shows what came of each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from capwright.judges.protocols import Answer, Reader
from capwright.scorers._asking import (
    UNANSWERED,
    QuestionPrompt,
    QuestionResult,
    QuestionSet,
    ReaderOption,
    ask,
    open_port,
    read_question_set,
    show,
    status_of,
    tell,
)
from capwright.scorers.base import SCORED, Context, Corpus, Item, Scorer, Stats, item_status, ratio
from capwright.scorers.options import Seed
from capwright.text.digest import fingerprint
from capwright.types import ScorerError

#: The first columns of a row; then (credit, asked) of each kind of question. `asked` counts questions that are known.
COLUMNS = ("right", "abstained", "credit", "asked", "unanswered")


@dataclass(frozen=True)
class QuestionContext(Context):
    """What was prepared: who reads, and which questions there are.

    Attributes:
        reader: signature of the reader.
        bank: the questions of the corpus.
    """

    reader: str
    bank: QuestionSet


Q = TypeVar("Q", bound=QuestionContext)


@dataclass(eq=False)
class ReadingScorer(Scorer[Q]):
    """Base of scorers that put questions to a judge.

    Args:
        judge: who answers: "lexical", "local:FOLDER", {"name": "http://host:port/v1", "model": ...}, or an object
            that is a `protocols.Reader`.
        seed: of what is drawn, and of the judge.
    """

    context_type: ClassVar[type[Context]] = QuestionContext

    judge: ReaderOption = "lexical"
    seed: Seed = 0

    @cached_property
    def reader(self) -> Reader:
        """Who answers; opened when first needed."""
        found: Reader = open_port(self.judge, Reader, self.spec.name, "answer questions")
        return found

    def fields(self, context: Q) -> Mapping[str, object]:
        """The questions that were asked ("118-2": two could not be), a digest of them, and who answered."""
        return dict(questions=context.bank.name, by=context.reader)


@dataclass(eq=False)
class QuestionScorer(ReadingScorer[QuestionContext]):
    """What `CapRL` and `CaptionQA` have in common; a scorer of its own by `plan`, `credit` and `outputs_of`.

    Rows, one a caption: (right, abstained, credit, asked, unanswered), then (credit, asked) for each kind of question
    that the corpus has. `asked` counts the questions whose answers are known, so that ratios are over these.
    """

    soft: bool = False

    # What a scorer is made of ------------------------------------------------------------------------------------

    def plan(self, item: Item, context: QuestionContext) -> list[QuestionPrompt]:
        """The questions that are asked about a caption."""
        raise ScorerError(f"{self.spec.name}: has no plan")

    def credit(self, asked: QuestionPrompt, told: QuestionResult) -> float:
        """What a known answer is worth, from 0 to 1."""
        return told.right

    def read(self, asked: QuestionPrompt, answer: Answer) -> QuestionResult:
        """What came of a question."""
        return tell(asked, answer, self.soft)

    def asks_about(self, caption: str) -> bool:
        """Whether the reader is asked about a caption; else it tells nothing, and every question is left open."""
        return bool(caption.strip())

    def setup(self) -> dict[str, Any]:
        """Options that can change a number, for the fingerprint and the signature."""
        return {}

    def outputs_of(self, summed: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        """The columns of the outputs of the spec, from sums [..., 5] in the order of `COLUMNS`."""
        raise ScorerError(f"{self.spec.name}: has no outputs")

    # What all of them do -----------------------------------------------------------------------------------------

    def prepare(self, corpus: Corpus) -> QuestionContext:
        """Gather the questions and open the judge; no judge is asked yet.

        Raises DataError when no sample has a question that can be asked, ScorerError for a judge that cannot
        answer questions.
        """
        bank = read_question_set(corpus.samples, self.spec.name)
        signature = self.reader.signature
        content = [self.spec.name, signature, bank.digest, self.seed, self.soft, self.setup()]
        outputs = (*self.spec.outputs, *(f"kind:{kind}" for kind in bank.kinds))
        return QuestionContext(self.spec.name, fingerprint(content), outputs, reader=signature, bank=bank)

    def stats(self, items: Sequence[Item], context: Context) -> Stats:
        """One row an item, see the class; zero where the sample has no question that can be asked, which is NaN.

        All questions of all items are put to the judge in one call. A caption with no words tells nothing: its
        questions are left open, without asking. Evidence: {"questions": [see `asking.show`], "right", "abstained",
        "asked", "unanswered"}, also for captions that are unknown because too few answers could be had.
        """
        own = self.own_context(context)
        status = [item_status(item) for item in items]
        plans = [self.plan(item, own) if state in SCORED else [] for item, state in zip(items, status)]
        spoken = [bool(plan) and self.asks_about(item.caption) for item, plan in zip(items, plans)]
        pairs = [(item.caption, one) for item, plan, says in zip(items, plans, spoken) if says for one in plan]
        answers = iter(ask(self.reader, pairs, self.seed, self.spec.name) if pairs else [])
        kind_column = {kind: len(COLUMNS) + 2 * i for i, kind in enumerate(own.bank.kinds)}
        rows = np.zeros((len(items), len(COLUMNS) + 2 * len(kind_column)))
        evidence: list[dict[str, Any] | None] = [None] * len(items)
        for index, (plan, says) in enumerate(zip(plans, spoken)):
            if not plan:
                continue
            told = [self.read(one, next(answers)) if says else UNANSWERED for one in plan]
            evidence[index] = _evidence(plan, told)
            state = status_of(told)
            if state == "ok":
                self._fill(rows[index], plan, told, kind_column)
            else:
                status[index] = state
        return Stats.of(rows, status, evidence)

    def _fill(
        self,
        row: NDArray[np.float64],
        plan: Sequence[QuestionPrompt],
        told: Sequence[QuestionResult],
        kind_column: Mapping[str, int],
    ) -> None:
        for asked, one in zip(plan, told):
            if not one.known:
                row[4] += 1
                continue
            worth = self.credit(asked, one)
            row[:4] += one.right, one.abstained, worth, 1
            column = kind_column.get(asked.question.kind.strip())
            if column is not None:
                row[column : column + 2] += worth, 1

    def finalize(self, summed: NDArray[np.float64]) -> NDArray[np.float64]:
        """[..., 5 + 2K] -> [..., M + K] in the order of `context.outputs`; 0/0 is NaN."""
        summed = np.asarray(summed, dtype=np.float64)
        kinds = summed[..., len(COLUMNS) :]
        by_kind = [ratio(kinds[..., i], kinds[..., i + 1]) for i in range(0, kinds.shape[-1], 2)]
        return np.stack([*self.outputs_of(summed[..., : len(COLUMNS)]), *by_kind], axis=-1)


def _evidence(plan: Sequence[QuestionPrompt], told: Sequence[QuestionResult]) -> dict[str, Any]:
    return {
        "questions": [show(asked, one) for asked, one in zip(plan, told)],
        "right": sum(one.right for one in told),
        "abstained": sum(one.abstained for one in told),
        "asked": sum(one.known for one in told),
        "unanswered": sum(not one.known for one in told),
    }


def shares(summed: NDArray[np.float64], *columns: str) -> list[NDArray[np.float64]]:
    """Columns of sums over the questions that are known, then the share of questions without an answer."""
    table = dict(zip(COLUMNS, np.moveaxis(summed, -1, 0)))
    asked = table["asked"]
    return [*(ratio(table[name], asked) for name in columns), ratio(table["unanswered"], asked + table["unanswered"])]
