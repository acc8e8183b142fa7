"""Judges for the tests of curation: exact readers of captions that can also guess, be down, or be counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from capwright.judges.protocols import Answer, Evidence
from capwright.scenes import sample_scene, to_sample
from capwright.scenes.lexical_judge import LexicalJudge
from capwright.types import Question, Sample

#: What anybody knows without looking.
KNOWN = {"How many legs does a spider have?": "eight"}


class Killed(BaseException):
    """Not an error that a job could handle."""


class Guesser:
    """Reads captions, and answers from general knowledge what the evidence does not tell."""

    signature = "guesser:1"

    def __init__(self, known: Mapping[str, str] = KNOWN, kill_after: int = 0) -> None:
        self.known = known
        self.asked: list[tuple[Evidence, Question]] = []
        self._reader = LexicalJudge()
        self._kill_after = kill_after
        self._calls = 0

    def answer(self, asked: Sequence[tuple[Evidence, Question]], *, seed: int = 0) -> list[Answer]:
        self._calls += 1
        if self._kill_after and self._calls > self._kill_after:
            raise Killed
        self.asked += asked
        answers = self._reader.answer(asked, seed=seed)
        for i, (_, question) in enumerate(asked):
            guess = self.known.get(question.text)
            if answers[i].option is None and guess in question.options:
                answers[i] = Answer(question.options.index(guess))
        return answers


class Says:
    """A reader whose answers are a function of the evidence and the question."""

    signature = "says:1"

    def __init__(self, choose: Callable[[Evidence, Question], Answer]) -> None:
        self._choose = choose

    def answer(self, asked: Sequence[tuple[Evidence, Question]], *, seed: int = 0) -> list[Answer]:
        return [self._choose(evidence, question) for evidence, question in asked]


class Writes:
    """A writer whose records are a function of what it is given."""

    signature = "writes:1"

    def __init__(self, record: Callable[[Mapping[str, Any]], Any]) -> None:
        self._record = record
        self.given: list[Mapping[str, Any]] = []

    def write(self, task: str, given: Sequence[Mapping[str, Any]], *, seed: int = 0) -> list[Any]:
        assert task == "questions"
        self.given += given
        return [self._record(each) for each in given]


def scenes(n: int) -> list[Sample]:
    """The first samples of the built-in kindergarten, without their own questions."""
    return [to_sample(sample_scene(0, index), f"images/{index}.png") for index in range(n)]
