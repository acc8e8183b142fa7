"""CCCaption: does a caption answer the questions about its image, and is what it claims true? (arXiv 2602.21655)

What is the paper's and what is ours: docs/methods/claim-scores.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capwright.judges.protocols import Claims, Reader
from capwright.scorers._asking import (
    UNANSWERED,
    QuestionPrompt,
    QuestionResult,
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
from capwright.scorers.base import Context, Corpus, Item, ScorerSpec, ratio
from capwright.scorers.claims._claims import (
    ClaimContext,
    ClaimFinding,
    ClaimScorer,
    ClaimsOption,
    evidence_of,
    shown,
    split_texts,
    verify_claims,
)
from capwright.text.digest import fingerprint
from capwright.types import Sample, ScorerError

_OUTPUTS = ("cccaption", "completeness", "correctness")


@dataclass(frozen=True)
class CCCaptionContext(ClaimContext):
    """Who reads captions, and the questions of the corpus, as signatures name them."""

    reader: Reader
    bank: str


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

    _width = 5
    _needs = ("evidence",)

    def __init__(
        self,
        judge: ClaimsOption = "lexical",
        reader: ClaimsOption | Reader | None = None,
        evidence: str = "auto",
        alpha: float = 0.5,
        seed: int = 0,
    ) -> None:
        if not 0 <= alpha <= 1:
            raise ScorerError(f"cccaption: alpha must be from 0 to 1, not {alpha!r}")
        named = isinstance(reader, Mapping) and isinstance(reader.get("name"), str)
        if not named and reader is not None and not isinstance(reader, (str, Reader)):
            raise ScorerError(f"cccaption: reader must be a name, an object with a name, or a Reader, not {reader!r}")
        spec = ScorerSpec(
            name="cccaption",
            version="1",
            outputs=_OUTPUTS,
            ranges=dict.fromkeys(_OUTPUTS, (0.0, 1.0)),
            needs=frozenset({"judge", "questions"}),
            unit="item|ctx",
            cost="calls",
        )
        super().__init__(spec, judge, evidence, "auto", seed)
        self._reader = reader
        self._alpha = float(alpha)

    def prepare(self, corpus: Corpus) -> CCCaptionContext:
        """See `ClaimScorer.prepare`. Raises DataError also when no sample has a question that can be asked."""
        made = super().prepare(corpus)
        same = made.claims if self._reader is None else self._reader
        reader = open_port(same, Reader, self.spec.name, "answer questions")
        bank = read_question_set(corpus.samples, self.spec.name)
        fields = vars(made) | {"fingerprint": fingerprint([made.fingerprint, reader.signature, bank.digest])}
        return CCCaptionContext(**fields, reader=reader, bank=bank.name)

    def finalize(self, summed: NDArray[np.float64]) -> NDArray[np.float64]:
        """[..., 5] -> [..., 3] means over captions in the order of the outputs; 0/0 is NaN."""
        both, asked, complete, correct, captions = np.moveaxis(np.asarray(summed, dtype=np.float64), -1, 0)
        return np.stack([ratio(both, asked), ratio(complete, asked), ratio(correct, captions)], axis=-1)

    def fields(self, context: Context) -> dict[str, object]:
        """`cccaption|assistant:...|reader:...|evidence:facts/118#3f2a1b7c|questions:120#3f2a1b7c|alpha:.5|seed:0|v:1`."""
        own: Any = self.own(context)
        return dict(
            assistant=own.claims.signature,  # as it began: a signature lasts as long as its number
            reader=own.reader.signature,
            evidence=own.against,
            questions=own.bank,
            alpha=self._alpha,
            seed=self._seed,
        )

    def _more(self, claims: Claims) -> tuple[tuple[str, object], ...]:
        return (("alpha", self._alpha),)

    def _measure(self, items: Sequence[Item], context: CCCaptionContext) -> list[ClaimFinding]:
        told = self._answers(items, context)
        said = split_texts(context.claims, [item.caption for item in items], self._seed)
        against = [evidence_of(item.sample, context.evidence) for item in items]
        asked = [
            (split.claims if evidence is not None else (), evidence or "") for split, evidence in zip(said, against)
        ]
        checked = verify_claims(context.claims, asked, self._seed)
        answers = [[answer for _, answer in pairs] for pairs in told]

        def find(i: int) -> ClaimFinding:
            verdicts = checked[i][0]
            evidence: dict[str, Any] = {
                "questions": [show(one, answer) for one, answer in told[i]],
                "claims": shown(said[i].claims, verdicts),
            }
            true = sum(verdict.verdict == "entailed" for verdict in verdicts)
            correct = true / len(verdicts) if verdicts else 0.0
            return ClaimFinding(self._row(answers[i], correct), evidence=evidence)

        statuses = [(split.status, status, status_of(mine)) for split, (_, status), mine in zip(said, checked, answers)]
        return self._settled(context, against, statuses, find)

    def _answers(
        self, items: Sequence[Item], context: CCCaptionContext
    ) -> list[list[tuple[QuestionPrompt, QuestionResult]]]:
        """What came of every question of every item, in one call. A blank caption tells nothing, and needs no call."""
        shown_as = [self._questions(item.sample) for item in items]
        speaking = [(i, one) for i, item in enumerate(items) for one in shown_as[i] if item.caption.strip()]
        asked = [(items[i].caption, one) for i, one in speaking]
        answers = iter(ask(context.reader, asked, self._seed, self.spec.name))
        return [
            [(one, tell(one, next(answers)) if item.caption.strip() else UNANSWERED) for one in shown_as[i]]
            for i, item in enumerate(items)
        ]

    def _questions(self, sample: Sample) -> list[QuestionPrompt]:
        """The questions with their options in an order that depends on the sample, the question and the seed."""
        return [
            QuestionPrompt(question, shuffled(question, seeded_rng("cccaption", self._seed, sample.id, question.text)))
            for question in choices(sample)
        ]

    def _row(self, answers: Sequence[QuestionResult], correct: float) -> tuple[float, ...]:
        known = [answer.right for answer in answers if answer.known]
        if not known:
            return (0.0, 0.0, 0.0, correct, 1.0)
        complete = sum(known) / len(known)
        return (self._alpha * complete + (1 - self._alpha) * correct, 1.0, complete, correct, 1.0)
