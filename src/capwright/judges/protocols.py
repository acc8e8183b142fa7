"""Who can be asked about text and images: small protocols that a language model or a closed-world reader implements.

Evidence is a text, or an image: reading a caption, checking a claim against a caption and checking it against the
image are the same call. Every result has a status (`types.Status`): "ok", or why it is unknown; a `StatusWithReason`
says so in words, too. An answer that could not be had is unknown, never wrong. A judge may be given the same question
several times in one call; a language model is then asked once (`client.Chat`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from capwright.types import Question, Status

#: A text that is read as it stands, or the path of an image.
Evidence = str | Path

#: What evidence can say about a claim.
VERDICTS = ("entailed", "contradicted", "neutral")


class StatusWithReason(str):
    """A status that remembers why, for people: `StatusWithReason(Status.TIMEOUT, "no answer within 30 s").reason`.

    It is the plain text in every other way, so that code that compares, counts or writes statuses need not know of it.
    """

    reason: str

    def __new__(cls, status: str, reason: str = "") -> StatusWithReason:
        made = super().__new__(cls, status)
        made.reason = " ".join(reason.split())
        return made


def reason_of(status: str) -> str:
    """Why a status is not "ok", as far as the judge said; else ""."""
    return getattr(status, "reason", "")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a reader answered to a question.

    Attributes:
        option: place of the chosen option in `Question.options`; None when the reader abstained or the status is not
            "ok". Whether it is right is for the caller to say: readers never see `Question.answer`.
        abstained: the evidence does not tell.
        status: "ok" or why there is no answer.
        probabilities: of the options, then of abstaining, where the reader can tell; they sum to 1.
        text: what was said, for the record.
    """

    option: int | None
    abstained: bool = False
    status: str = Status.OK
    probabilities: tuple[float, ...] | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What evidence says about a claim: one of `VERDICTS`, or None where the status is not "ok".

    `pointable`: the claim is about something that can be seen and pointed at; None where no judge said so.
    `descriptive`: the claim describes, rather than infers; None where no judge said so.
    """

    verdict: str | None
    pointable: bool | None = None
    descriptive: bool | None = None
    status: str = Status.OK


@dataclass(frozen=True, slots=True)
class Split:
    """The atomic claims of a text, in order, each once; and which of them describe rather than infer."""

    claims: tuple[str, ...]
    descriptive: tuple[bool, ...] = ()
    status: str = Status.OK


@dataclass(frozen=True, slots=True)
class Grade:
    """Marks for a text, name of an axis -> a number from 0 to 1; empty where the status is not "ok"."""

    marks: Mapping[str, float]
    status: str = Status.OK
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Preference:
    """Which of two captions is better: "first", "second", "tie", or None where the status is not "ok"."""

    better: str | None
    status: str = Status.OK
    reason: str = ""


class Signed(Protocol):
    """What every judge has."""

    @property
    def signature(self) -> str:
        """One line for signatures of scores: who is asked, with which prompts."""
        ...


@runtime_checkable
class Reader(Signed, Protocol):
    """Answers multiple-choice questions from evidence alone."""

    def answer(self, asked: Sequence[tuple[Evidence, Question]], *, seed: int = 0) -> list[Answer]:
        """One answer for each (evidence, question), in order; options are shown in the order of `Question.options`."""
        ...


@runtime_checkable
class Claims(Signed, Protocol):
    """Splits texts into claims and holds claims against evidence."""

    def split(self, texts: Sequence[str], *, seed: int = 0) -> list[Split]:
        """The atomic claims of each text."""
        ...

    def verify(self, asked: Sequence[tuple[Sequence[str], Evidence]], *, seed: int = 0) -> list[list[Verdict]]:
        """For each (claims, evidence) a verdict a claim."""
        ...

    def match(self, asked: Sequence[tuple[Sequence[str], Sequence[str]]], *, seed: int = 0) -> list[list[int | None]]:
        """For each (claims, facts) which fact each claim states: its place, or None. An empty list: unknown."""
        ...


@runtime_checkable
class Writer(Signed, Protocol):
    """Writes by instruction: questions about an image, corruptions of a text."""

    def write(self, task: str, given: Sequence[Mapping[str, Any]], *, seed: int = 0) -> list[Mapping[str, Any]]:
        """One record for each `given` of a task that the writer knows; {"status": ...} says when there is none."""
        ...


@runtime_checkable
class Judge(Signed, Protocol):
    """Compares and grades captions."""

    def compare(self, asked: Sequence[tuple[Evidence | None, str, str, str]], *, seed: int = 0) -> list[Preference]:
        """For each (image or None, first caption, second caption, reference or "") which caption is better."""
        ...

    def grade(self, axes: Sequence[str], texts: Sequence[str], *, seed: int = 0) -> list[Grade]:
        """Marks from 0 to 1 of each text on the axes ("clarity", "fluency", "coherence")."""
        ...
