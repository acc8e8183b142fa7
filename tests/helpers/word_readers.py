"""Readers for the tests of scorers that ask questions: they look for the words of options in a caption."""

from __future__ import annotations

from collections.abc import Sequence

from capwright.judges.protocols import Answer, Evidence
from capwright.types import Question


class Words:
    """Takes the one option that the caption has, and fails where the caption says so.

    "!what" in a caption: questions with the word "what" end with the status `failure`.
    """

    signature = "words"
    failure = "judge_error"

    def __init__(self) -> None:
        self.calls: list[list[tuple[Evidence, Question]]] = []

    @property
    def asked(self) -> list[Question]:
        return [question for call in self.calls for _, question in call]

    def answer(self, asked: Sequence[tuple[Evidence, Question]], *, seed: int = 0) -> list[Answer]:
        self.calls.append(list(asked))
        return [self.one(str(evidence).split(), question) for evidence, question in asked]

    def one(self, said: Sequence[str], question: Question) -> Answer:
        if any(f"!{word}" in said for word in question.text.lower().split()):
            return Answer(None, status=self.failure)
        found = [place for place, option in enumerate(question.options) if option in said]
        return Answer(found[0]) if len(found) == 1 else Answer(None, abstained=True)


class SlowWords(Words):
    """Fails by taking too long."""

    failure = "timeout"


class Fixed(Words):
    """Gives one answer to everything."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.given = answer

    def one(self, said: Sequence[str], question: Question) -> Answer:
        return self.given
