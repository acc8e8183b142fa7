"""Prism-style evaluation: a captioner writes, a model that only reads answers (arXiv 2406.14544; as in 2509.22647).

Several captions are drawn of an image, and every question is answered from each: the mean says how good captions are,
the best of them how good they could be. docs/methods/caprl.md says how this differs from the published evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from capwright.judges.protocols import Answer, Writer
from capwright.scorers._asking import (
    UNANSWERED,
    QuestionContext,
    QuestionPrompt,
    QuestionResult,
    ReadingScorer,
    ask,
    choices,
    open_ones,
    open_port,
    read_question_set,
    seeded_rng,
    show,
    shuffled,
    sorted_questions,
    status_of,
    tell,
)
from capwright.scorers.base import SCORED, Context, Corpus, Item, ScorerSpec, Stats, by_image, ratio
from capwright.scorers.questions._open_questions import RULES, answer_openly
from capwright.types import Status

_OUTPUTS = ("accuracy", "best", "abstained", "unanswered", "captions")


@dataclass(eq=False)
class Prism(ReadingScorer[QuestionContext]):
    """The scorer `prism`: every question of an image, answered from each of its captions.

    Items of one call with the same `sample.id` are the captions of an image. The image has one row, owned by the first
    of them, so this cannot be a reward (that is `caprl`). Outputs, pooled over questions:
        accuracy: right answers / answers, over all captions. The headline; the mean over k captions of an image.
        best: questions that at least one caption answers / questions. With one caption an image it is the accuracy.
            A question that no caption answers and that somewhere failed is in no sum: a failure is no wrong answer.
        abstained: abstentions / answers.
        unanswered: answers that could not be had, and all of an image that is unknown for lack of them / answers asked
            for.
        captions: mean captions an image: `best` grows with it.
    Accuracies are in [0, 1]. A question without a key among its options is never asked (counted in the signature), so
    it cannot count as right, as it does in the published program. An image without questions that can be asked is
    NaN; one with a caption that is unknown, or with less than half of its answers known, is unknown.

    Args:
        judge: who answers: "lexical", "local:FOLDER", {"name": "http://host:port/v1", "model": ...}, or an object
            that is a `protocols.Reader`.
        shuffle: whether options are shuffled, alike for all captions of an image; else they stand as in the dataset.
        free: how answers in free words are held to the key: "exact", "relaxed" (a number may be 5 % off) or "anls"
            (part of the letters may differ; worth less than 1 then), see `open_questions`. Questions without options
            are asked too, and the judge must also be a `protocols.Writer`. Empty: such questions are left out.
        seed: of the shuffles, which depend on it, the id of the sample and the question alone, and of the judge.
    """

    spec = ScorerSpec(
        name="prism",
        outputs=_OUTPUTS,
        ranges=dict.fromkeys(_OUTPUTS, (0.0, 1.0)) | {"captions": (0.0, math.inf)},
        of_all=("unanswered",),
        needs={"questions", "judge", "several captions"},
        unit="item|ctx",
        cost="calls",
        about="questions about the image, answered from each of several captions: their mean and the best",
        source="arXiv 2406.14544",
        page="caprl",
    )

    shuffle: bool = False
    free: Literal["", "exact", "relaxed", "anls"] = ""

    def prepare(self, corpus: Corpus) -> QuestionContext:
        """Gather the questions and open the judge.

        Raises DataError when no question can be asked, ScorerError for a judge that cannot answer questions.
        """
        bank = read_question_set(corpus.samples, "prism", openly=bool(self.free))
        if self.free:
            open_port(self.reader, Writer, "prism", "answer open questions")
        signature = self.reader.signature
        content = ["prism", signature, bank.digest, self.shuffle, self.seed, self.free]
        return self.make_context(content, reader=signature, bank=bank)

    def stats(self, items: Sequence[Item], context: Context) -> Stats:
        """One row an image: (right, abstained, answers, best, questions, unanswered, captions, 1).

        Zero but for the last two where the image has no question that can be asked. All questions of all captions are
        put in one call. Evidence: {"captions": [{"questions": [see `show`]}, ...], "best", "questions"}.
        """
        self.own_context(context)
        images, status = by_image(items)
        plans = [self._plan(items[members[0]]) if state in SCORED else None for members, state in zip(images, status)]
        pairs = [
            (items[index].caption, one)
            for members, plan in zip(images, plans)
            for index in members
            if items[index].caption.strip()
            for one in plan or ()
        ]
        answers = iter(self._answers(pairs))
        rows = np.zeros((len(images), 8))
        evidence: list[dict[str, Any] | None] = [None] * len(images)
        for number, (members, plan) in enumerate(zip(images, plans)):
            if plan is None:
                continue
            told = [[next(answers) if items[index].caption.strip() else UNANSWERED for _ in plan] for index in members]
            state = status_of([one for row in told for one in row])
            if state == Status.OK:
                rows[number] = _row(told)
            else:
                status[number], rows[number, 5] = state, len(told) * len(plan)
            evidence[number] = {
                "captions": [{"questions": [show(asked, one) for asked, one in zip(plan, row)]} for row in told],
                "best": float(rows[number, 3]),
                "questions": len(plan),
            }
        return Stats.of(rows, status, evidence, [members[0] for members in images])

    def finalize(self, summed: NDArray[np.float64]) -> NDArray[np.float64]:
        """[..., 8] -> [..., 5]: accuracy, best, abstained, unanswered, captions; 0/0 is NaN."""
        summed = np.asarray(summed, dtype=np.float64)
        right, abstained, answers, best, questions, unanswered, captions, images = np.moveaxis(summed, -1, 0)
        columns = [
            ratio(right, answers),
            ratio(best, questions),
            ratio(abstained, answers),
            ratio(unanswered, answers + unanswered),
            ratio(captions, images),
        ]
        return np.stack(columns, axis=-1)

    def fields(self, context: QuestionContext) -> Mapping[str, object]:
        """`prism|shuffle:no|seed:0|questions:120#3f2a1b7c|by:...|v:1`; see `caprl` for `questions` and `by`.

        `free:relaxed` says that open questions were asked, and how their answers were held to the key.
        """
        shuffle = "yes" if self.shuffle else "no"
        return dict(shuffle=shuffle, free=self.free or None, seed=self.seed, **super().fields(context))

    def _plan(self, item: Item) -> list[QuestionPrompt]:
        plan = []
        for question in sorted_questions([*choices(item.sample), *(open_ones(item.sample) if self.free else ())]):
            random = seeded_rng("prism", self.seed, item.sample.id, question.text, *question.options)
            plan.append(QuestionPrompt(question, shuffled(question, random) if self.shuffle else question))
        return plan

    def _answers(self, pairs: Sequence[tuple[str, QuestionPrompt]]) -> list[QuestionResult]:
        """What comes of each (caption, question): one call for those with options, one for those without."""
        closed = [pair for pair in pairs if pair[1].question.options]
        free = [(caption, one.question.text) for caption, one in pairs if not one.question.options]
        reader: Any = self.reader
        chosen = iter(ask(reader, closed, self.seed, "prism"))
        said = iter(answer_openly(reader, free, self.seed, "prism") if free else ())
        return [
            tell(one, next(chosen)) if one.question.options else self._tell_free(one, next(said)) for _, one in pairs
        ]

    def _tell_free(self, asked: QuestionPrompt, said: Answer) -> QuestionResult:
        if said.status != Status.OK:
            return QuestionResult(said.status)
        if not said.text:
            return UNANSWERED
        return QuestionResult(Status.OK, right=RULES[self.free](said.text, asked.question.answer), said=said.text)


def _row(told: Sequence[Sequence[QuestionResult]]) -> tuple[float, ...]:
    """The row of an image from what came of each question [captions][questions]."""
    flat = [one for row in told for one in row]
    known = sum(one.known for one in flat)
    best, settled = 0.0, 0
    for column in zip(*told):
        most = max(one.right for one in column)
        if most == 1 or all(one.known for one in column):  # else one that failed might have been better
            best, settled = best + most, settled + 1
    right, abstained = sum(one.right for one in flat), sum(one.abstained for one in flat)
    return right, abstained, known, best, settled, len(flat) - known, len(told), 1
