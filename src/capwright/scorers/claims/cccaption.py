"""CCCaption: does a caption answer the questions about its image, and is what it claims true? (arXiv 2602.21655)

What is the paper's and what is ours: docs/methods/claim-scores.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from capwright.judges.protocols import Claims, Reader
from capwright.scorers._asking import (
    UNANSWERED,
    QuestionPrompt,
    QuestionResult,
    ReaderOption,
    ask,
    choices,
    open_port,
    read_question_set,
    seeded_rng,
    show,
    shuffled,
    status_of,
    tell,
)
from capwright.scorers.base import Corpus, Item, ItemStats, ScorerSpec
from capwright.scorers.claims._claims import ClaimContext, ClaimScorer, shown, split_texts
from capwright.scorers.options import Fraction
from capwright.types import Sample


@dataclass(frozen=True)
class CCCaptionContext(ClaimContext):
    """Who reads captions, and the questions of the corpus, as signatures name them."""

    reader: Reader
    bank: str


@dataclass(eq=False)
class CCCaption(ClaimScorer):
    """The scorer `cccaption`.

    Outputs, 0 to 1, means over captions:
        cccaption: alpha * completeness + (1 - alpha) * correctness. The headline.
        completeness: questions of the sample answered right from the caption alone. Not told is not right.
        correctness: claims of the caption that are true / its claims; 0 for a caption without any.
    A sample without questions has a correctness only. A caption is unknown when more than half of its questions are,
    or one of its claims. Rows are (cccaption, captions with questions, completeness, correctness, captions).

    Args:
        judge, evidence, seed: see `ClaimScorer`.
        reader: who answers the questions, when that is not the judge.
        alpha: weight of completeness. The paper's value is not certain: a note on it gives 0.05.
    """

    spec = ScorerSpec(
        name="cccaption",
        outputs=("cccaption", "completeness", "correctness"),
        needs={"judge", "questions"},
        unit="item|ctx",
        cost="calls",
        about="questions about the image that a caption answers, and claims of it that are true",
        source="arXiv 2602.21655",
        page="claim-scores",
    )
    columns = ("both", "asked", "complete", "correct", "captions")
    ratios = (("both", "asked"), ("complete", "asked"), ("correct", "captions"))
    _needs = ("evidence",)

    reader: ReaderOption | None = None
    alpha: Fraction = 0.5

    def prepare(self, corpus: Corpus) -> CCCaptionContext:
        """See `ClaimScorer.prepare`. Raises DataError also when no sample has a question that can be asked."""
        made = super().prepare(corpus)
        same = made.claims if self.reader is None else self.reader
        reader = open_port(same, Reader, self.spec.name, "answer questions")
        bank = read_question_set(corpus.samples, self.spec.name)
        return made.extend(CCCaptionContext, reader.signature, bank.digest, reader=reader, bank=bank.name)

    def fields(self, context: CCCaptionContext) -> dict[str, object]:
        """`cccaption|assistant:...|reader:...|evidence:facts/118#3f2a1b7c|questions:120#3f2a1b7c|alpha:.5|seed:0|v:1`."""
        return dict(
            assistant=context.claims.signature,  # as it began: a signature lasts as long as its number
            reader=context.reader.signature,
            evidence=context.against,
            questions=context.bank,
            alpha=self.alpha,
            seed=self.seed,
        )

    def _more(self, claims: Claims) -> tuple[tuple[str, object], ...]:
        return (("alpha", self.alpha),)

    def measure(self, items: Sequence[Item], context: CCCaptionContext) -> Iterator[ItemStats]:
        """Rows of `columns`. Evidence: {"questions": [see `asking.show`], "claims": [{"claim", "verdict"}, ...]}."""
        told = self._answers(items, context)
        said = split_texts(context.claims, [item.caption for item in items], self.seed)
        answered = [status_of([answer for _, answer in each]) for each in told]
        held = self._hold(items, [one.claims for one in said], context, [[one.status for one in said]], after=answered)
        for each, one, (verdicts, unknown) in zip(told, said, held):
            true = sum(verdict.verdict == "entailed" for verdict in verdicts)
            row = self._row([answer for _, answer in each], true / len(verdicts) if verdicts else 0.0)
            questions = [show(asked, answer) for asked, answer in each]
            evidence = {"questions": questions, "claims": shown(one.claims, verdicts)}
            yield unknown or ItemStats(row, evidence=evidence)

    def _answers(
        self, items: Sequence[Item], context: CCCaptionContext
    ) -> list[list[tuple[QuestionPrompt, QuestionResult]]]:
        """What came of every question of every item, in one call. A blank caption tells nothing, and needs no call."""
        shown_as = [self._questions(item.sample) for item in items]
        speaking = [(i, one) for i, item in enumerate(items) for one in shown_as[i] if item.caption.strip()]
        asked = [(items[i].caption, one) for i, one in speaking]
        answers = iter(ask(context.reader, asked, self.seed, self.spec.name))
        return [
            [(one, tell(one, next(answers)) if item.caption.strip() else UNANSWERED) for one in shown_as[i]]
            for i, item in enumerate(items)
        ]

    def _questions(self, sample: Sample) -> list[QuestionPrompt]:
        """The questions with their options in an order that depends on the sample, the question and the seed."""
        return [
            QuestionPrompt(question, shuffled(question, seeded_rng("cccaption", self.seed, sample.id, question.text)))
            for question in choices(sample)
        ]

    def _row(self, answers: Sequence[QuestionResult], correct: float) -> tuple[float, ...]:
        known = [answer.right for answer in answers if answer.known]
        if not known:
            return (0.0, 0.0, 0.0, correct, 1.0)
        complete = sum(known) / len(known)
        return (self.alpha * complete + (1 - self.alpha) * correct, 1.0, complete, correct, 1.0)
