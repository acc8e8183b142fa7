"""CaptionQA: can a caption stand in for its image when questions are asked? (arXiv 2511.21025)

Every question of the image is answered from the caption; saying that the caption does not tell earns a little more than
guessing would. docs/methods/captionqa.md says what is the paper's and what we changed.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

import numpy as np
from numpy.typing import NDArray

from capwright.judges.protocols import Answer
from capwright.scorers._asking import (
    QuestionContext,
    QuestionPrompt,
    QuestionResult,
    QuestionScorer,
    choices,
    seeded_rng,
    shares,
    shuffled,
    sorted_questions,
    tell,
)
from capwright.scorers.base import Corpus, Item, ScorerSpec
from capwright.types import DataError, Question, Sample, ScorerError, Status

#: The option of the released evaluation, which it shuffles among the others.
CANNOT_ANSWER = "Cannot answer from the caption"
#: What abstaining earns above the chance of a guess.
BONUS = 0.05

_OUTPUTS = ("score", "accuracy", "abstained", "unanswered")
#: A question that starts so is answered yes or no.
_YES_NO = re.compile("(is|are|was|were|do|does|did|have|has|had|can|could|will|would|should|shall|may|might|must) ")
_LETTERS = string.ascii_uppercase


@dataclass(frozen=True)
class StrictContext(QuestionContext):
    """Also how the released evaluation would show each question of each sample (by id, in the order of the sample)."""

    plans: Mapping[str, tuple[QuestionPrompt, ...]]


@dataclass(eq=False)
class CaptionQA(QuestionScorer):
    """The scorer `captionqa`: all questions of an image, answered from its caption alone.

    A right answer scores 1, a wrong one 0, and an abstention 1/K + 0.05 with K the number of options. Yes/no questions
    have no abstaining: there it scores 0. Outputs, in [0, 1], over all questions:
        score: mean score of a question. The headline and the reward.
        accuracy: right answers / answers.
        abstained: abstentions / answers.
        unanswered: questions without an answer (the judge failed) / questions asked. They are in no other output.
        kind:...: score of each kind of question that the corpus has (`Question.kind`).

    A caption without words abstains on every question, without anybody being asked. A sample without multiple-choice
    questions is NaN. A caption of which less than half of the answers are known is unknown.

    Args:
        judge: who answers: "lexical", "local:FOLDER", {"name": "http://host:port/v1", "model": ...}, or an object
            that is a `protocols.Reader`.
        seed: of the shuffles of options, which depend on it, the id of the sample and the question alone. So every
            captioner is asked alike, and leaving an image out changes no other.
        soft: count probabilities instead of choices where the judge tells them: expected score.
        strict_paper: as the released evaluation does: one sequence of random numbers over all questions in the order
            of the corpus, the abstaining option shuffled among the others, yes/no questions found by letters inside
            words, its parser of replies (see `strict_choice`), a reply that cannot be parsed is wrong, and empty
            captions are asked about too. A call that failed stays unknown. Not together with `soft`.
    """

    spec = ScorerSpec(
        name="captionqa",
        outputs=_OUTPUTS,
        ranges=dict.fromkeys((*_OUTPUTS, "kind"), (0.0, 1.0)),
        of_all=("unanswered",),
        needs={"questions", "judge"},
        unit="item|ctx",
        cost="calls",
        about="every question about the image answered from the caption; saying that it does not tell earns a little",
        source="arXiv 2511.21025",
    )

    strict_paper: bool = False

    def __post_init__(self) -> None:
        if self.strict_paper and self.soft:
            raise ScorerError("captionqa: strict_paper counts choices, so soft must be false")

    def prepare(self, corpus: Corpus) -> QuestionContext:
        """Gather the questions; in strict mode also shuffle them all, one after the other. Raises as its base does."""
        context = super().prepare(corpus)
        if not self.strict_paper:
            return context
        plans = strict_plans(corpus.samples, self.seed)
        shown = {id: [one.shown.options for one in plan] for id, plan in plans.items()}
        return context.extend(StrictContext, shown, plans=plans)

    def plan(self, item: Item, context: QuestionContext) -> list[QuestionPrompt]:
        """Every question once, options shuffled."""
        sample = item.sample
        if not isinstance(context, StrictContext):
            return [self._asked(sample.id, question) for question in sorted_questions(choices(sample))]
        if sample.id not in context.plans:
            raise DataError(
                f"captionqa: sample {sample.id!r} is not among those it was prepared with, and strict_paper shuffles "
                "questions in the order of the whole dataset; prepare it with all samples"
            )
        return list(context.plans[sample.id])

    def _asked(self, sample: str, question: Question) -> QuestionPrompt:
        random = seeded_rng("captionqa", self.seed, sample, question.text, *question.options)
        return QuestionPrompt(question, shuffled(question, random), forced=is_yes_no(question))

    def read(self, asked: QuestionPrompt, answer: Answer) -> QuestionResult:
        """What came of a question."""
        return strict_tell(asked, answer) if self.strict_paper else tell(asked, answer, self.soft)

    def credit(self, asked: QuestionPrompt, told: QuestionResult) -> float:
        """1 for right, 1/K + 0.05 for abstaining where that is offered, else 0."""
        return told.right + (0.0 if asked.forced else told.abstained * (1 / len(asked.question.options) + BONUS))

    def asks_about(self, caption: str) -> bool:
        """Captions with words; in strict mode all."""
        return self.strict_paper or super().asks_about(caption)

    def setup(self) -> dict[str, object]:
        """Options that can change a number."""
        return {"strict": self.strict_paper}

    def outputs_of(self, summed: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        """Score, accuracy, abstained, unanswered."""
        return shares(summed, "credit", "right", "abstained")

    def fields(self, context: QuestionContext) -> Mapping[str, object]:
        """`captionqa|abstain:1/K+.05|shuffle:question|seed:0|questions:120#3f2a1b7c|by:...|v:1`.

        `shuffle:paper#5f0c9a1e` in strict mode, with a digest of the shuffles, because these hang on all samples and
        their order; `questions` and `by` are as in `caprl`.
        """
        shuffle = f"paper#{context.fingerprint[:8]}" if self.strict_paper else "question"
        soft = "yes" if self.soft else None
        return dict(abstain="1/K+.05", shuffle=shuffle, seed=self.seed, soft=soft, **super().fields(context))


def is_yes_no(question: Question) -> bool:
    """Whether a question is answered yes or no: an option begins with each, or the question with a verb like "is".

    "No" is a word here, not two letters: "north" and "snow" are no "no".
    """
    first = {words[0] for option in question.options if (words := re.findall(r"\w+", option.casefold()))}
    return {"yes", "no"} <= first or _starts_yes_no(question)


def is_yes_no_by_letters(question: Question) -> bool:
    """The rule of the released evaluation, which finds "no" in "north" and "yes" in "eyes"."""
    options = [option.strip().lower() for option in question.options]
    found = any("yes" in option for option in options) and any("no" in option for option in options)
    return found or _starts_yes_no(question)


def _starts_yes_no(question: Question) -> bool:
    return _YES_NO.match(question.text.strip().lower()) is not None


def strict_plans(samples: Sequence[Sample], seed: int) -> dict[str, tuple[QuestionPrompt, ...]]:
    """Sample id -> its questions as the released evaluation shows them: one `Random(seed)` runs through all of them.

    A question takes its turn, which is one shuffle, when it has two options of its own and its answer is among them;
    any other draws no random number and is not asked. One that has the same option several times takes its turn and is
    not asked either: it cannot be answered wrong.
    """
    random = Random(seed)
    plans: dict[str, tuple[QuestionPrompt, ...]] = {}
    for sample in samples:
        asked: list[QuestionPrompt] = []
        for question in sample.questions:
            # Counted before the abstaining option is added: one option and that one are no two.
            if len(question.options) < 2 or question.answer.strip() not in map(str.strip, question.options):
                continue
            forced = is_yes_no_by_letters(question)
            shown = question.options if forced else (*question.options, CANNOT_ANSWER)
            order = list(range(len(shown)))
            random.shuffle(order)
            if len(set(map(str.strip, question.options))) > 1:
                abstain = None if forced else order.index(len(question.options))
                options = tuple(shown[place] for place in order)
                asked.append(QuestionPrompt(question, replace(question, options=options), forced, abstain))
        plans[sample.id] = tuple(asked)
    return plans


def strict_choice(reply: str, options: int) -> int | None:
    """The place of the option that the released parser finds in a reply, or None.

    It drops what is before the first "</think>", then before the first "Answer: ", then the first line when there are
    several. Of the rest, in capitals, it takes the first letter that stands alone, so "A cat" is A; and if that is the
    letter of no option, the first number of one or two digits, counted from 1.
    """
    for mark in ("</think>", "Answer: ", "\n"):
        reply = reply.partition(mark)[2] if mark in reply else reply
    letter = re.search(r"\b([A-Z])\b", reply.upper())
    if letter and _LETTERS.index(letter[1]) < options:
        return _LETTERS.index(letter[1])
    number = re.search(r"\b([1-9][0-9]?)\b", reply)
    return int(number[1]) - 1 if number and int(number[1]) <= options else None


def strict_tell(asked: QuestionPrompt, answer: Answer) -> QuestionResult:
    """What an answer is worth by the released rules; a reply that its parser cannot read is wrong.

    The reply is parsed anew where the reader recorded it. A reader that does not write letters (its text is that of
    the option it chose) is taken at its word, and so is one that abstains in a way of its own. A call that gave no
    reply is unknown, where the released program counts it as wrong.
    """
    options = asked.shown.options
    in_words = answer.option is not None and 0 <= answer.option < len(options) and answer.text == options[answer.option]
    if answer.status not in (Status.OK, Status.UNPARSEABLE) or not answer.text or answer.abstained or in_words:
        return tell(asked, answer)
    place = strict_choice(answer.text, len(options))
    return QuestionResult(Status.OK) if place is None else tell(asked, Answer(place))
