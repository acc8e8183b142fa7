"""CapRL: a caption is as good as the answers that a reader finds in it (arXiv 2509.22647).

A reader who never sees the image answers multiple-choice questions about it from the caption alone.
docs/methods/caprl.md says what is the paper's, what was inferred and what we changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from capwright.scorers._asking import (
    QuestionContext,
    QuestionPrompt,
    QuestionScorer,
    choices,
    seeded_rng,
    shares,
    shuffled,
    sorted_questions,
)
from capwright.scorers.base import Item, ScorerSpec
from capwright.scorers.options import Positive

_OUTPUTS = ("accuracy", "abstained", "unanswered")


@dataclass(eq=False)
class CapRL(QuestionScorer):
    """The scorer `caprl`: the share of questions about the image that are answered right from the caption alone.

    Outputs, shares in [0, 1]:
        accuracy: right answers / answers. The headline and the reward. An abstention counts as not right.
        abstained: abstentions / answers.
        unanswered: questions without an answer (the judge failed) / questions asked. They are in no other output; all
            questions of a caption that is unknown for lack of answers count here.
        kind:...: accuracy of each kind of question that the corpus has (`Question.kind`).

    A caption without words leaves every question open, so its accuracy is 0. A sample without multiple-choice
    questions is NaN. A caption of which less than half of the answers are known is unknown.

    Args:
        judge: who answers: "lexical", "local:FOLDER", {"name": "http://host:port/v1", "model": ...}, or an object
            that is a `protocols.Reader`.
        mode: "paper" draws `n` questions with replacement for each caption and shuffles the options of each draw;
            "all-questions" asks every question once and does not shuffle, so the number has no noise of drawing.
        n: questions drawn in mode "paper" (8 in the released code). Not used otherwise.
        seed: of draws and shuffles, which depend on it, the id of the sample and the text of the caption alone: never
            on the order of captions. The judge is given it too.
        shuffle: whether options are shuffled in mode "paper".
        soft: count probabilities instead of choices where the judge tells them: expected accuracy.
    """

    spec = ScorerSpec(
        name="caprl",
        outputs=_OUTPUTS,
        ranges=dict.fromkeys((*_OUTPUTS, "kind"), (0.0, 1.0)),
        of_all=("unanswered",),
        needs={"questions", "judge"},
        unit="item|ctx",
        cost="calls",
        about="questions about the image that a reader of the caption answers right",
        source="arXiv 2509.22647",
    )

    mode: Literal["paper", "all-questions"] = "paper"
    n: Positive = 8
    shuffle: bool = True

    def __post_init__(self) -> None:
        self._shuffles = self.shuffle and self.mode == "paper"

    def plan(self, item: Item, context: QuestionContext) -> list[QuestionPrompt]:
        """In mode "paper" `n` draws with replacement, each with a shuffle of its own; else every question once."""
        questions = sorted_questions(choices(item.sample))
        if not questions:
            return []
        if self.mode == "all-questions":
            return [QuestionPrompt(question, question) for question in questions]
        random = seeded_rng("caprl", self.seed, item.sample.id, item.caption)
        drawn = [questions[random.randrange(len(questions))] for _ in range(self.n)]
        return [
            QuestionPrompt(question, shuffled(question, random) if self._shuffles else question) for question in drawn
        ]

    def setup(self) -> dict[str, object]:
        """Options that can change a number."""
        return {"mode": self.mode, "n": self.n if self.mode == "paper" else 0, "shuffle": self._shuffles}

    def outputs_of(self, summed: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        """Accuracy, abstained, unanswered."""
        return shares(summed, "right", "abstained")

    def fields(self, context: QuestionContext) -> Mapping[str, object]:
        """`caprl|mode:paper|n:8|shuffle:yes|seed:0|questions:120#3f2a1b7c|by:...|v:1`.

        `soft:yes` says that probabilities were counted. `questions` counts the multiple-choice questions of the corpus
        ("118-2": two could not be asked) and has a digest of them; `by` is the signature of the reader.
        """
        n, shuffle = (self.n, "yes" if self.shuffle else "no") if self.mode == "paper" else (None, None)
        soft = "yes" if self.soft else None
        return dict(mode=self.mode, n=n, shuffle=shuffle, seed=self.seed, soft=soft, **super().fields(context))
