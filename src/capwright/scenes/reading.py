"""A reader of the kindergarten's language: answers questions, splits captions into claims, verifies claims.

It stands in for a language model where one is asked about a caption. It sees the text and nothing else, and knows the
closed vocabulary of `grammar.yaml` and `vocabulary.yaml` and no more: it does not reason, and unknown words say
nothing. Text that says two different things about one toy tells it neither, so listing every option never pays.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from capwright.scenes.language import Fact, fact
from capwright.scenes.lexing import Mention, Scan, scan
from capwright.types import Question

#: An atomic claim of a caption, in the same form as a fact of a scene.
Claim = Fact

#: What evidence can say about a claim.
VERDICTS = ("entailed", "contradicted", "neutral")

_QUESTIONS = (
    ("children", re.compile(r"how many (children|kids)\b")),
    ("count", re.compile(r"how many\b")),
    ("activity", re.compile(r"\bdoing\b")),
    ("area", re.compile(r"where (is|are) the (child|children|kids)\b|which area\b")),
    ("place", re.compile(r"where\b")),
    ("color", re.compile(r"(what|which) colou?r\b")),
    ("name", re.compile(r"(what|which)\b")),
)


class LexicalReader:
    """Reads captions of the built-in kindergarten by looking words up. Stateless: one instance serves everybody."""

    def answer(self, evidence: str, questions: Iterable[Question]) -> list[str | None]:
        """For each question the option that the evidence tells, word for word as in its `options`; else None.

        None means that the evidence does not tell, tells it in two ways, tells something that is not among the options,
        or that the question is none of those it knows. `Question.answer` is never looked at.
        """
        read = scan(evidence)
        return [_answer(read, question) for question in questions]

    def split(self, text: str) -> list[Claim]:
        """The atomic claims of a text, in the order area, children, activities, then toy by toy; no claim twice."""
        read = scan(text)
        claims = [fact("area", "", area) for area in read.areas]
        if read.children is not None:
            claims.append(fact("children", "", read.children))
        many = read.children != "one"
        claims += [fact("activity", number or "", activity, many=many) for number, activity in read.activities]
        for toy in read.toys:
            several = toy.count not in (None, "one")
            claims.append(fact("name", toy.name, toy.name, several))
            if toy.color is not None:
                claims.append(fact("color", toy.name, toy.color, several))
            if toy.count is not None:
                claims.append(fact("count", toy.name, toy.count))
            if toy.place is not None:
                claims.append(fact("place", toy.name, toy.place, several))
        return list(dict.fromkeys(claims))

    def verify(self, claims: Sequence[Claim], evidence: str) -> list[str]:
        """One of `VERDICTS` for each claim, whatever its sentence.

        What the evidence does not mention is neutral, never contradicted.
        """
        read = scan(evidence)
        return [_verdict(read, claim) for claim in claims]


# Answers --------------------------------------------------------------------------------------------------------------


def _answer(read: Scan, question: Question) -> str | None:
    text = " ".join(question.text.casefold().split())
    kind = next((kind for kind, pattern in _QUESTIONS if pattern.search(text)), "")
    if kind == "activity":
        told = {activity for _, activity in read.activities}
        chosen = [option for option in question.options if told.intersection(_values("activity", option))]
        return chosen[0] if len(chosen) == 1 else None
    if kind == "area":
        value = _only(read.areas)
    elif kind == "children":
        value = read.children
    else:
        value = _about_toy(read, kind, text)
    if value is None:
        return None
    chosen = [option for option in question.options if value in _values(kind, option)]
    return chosen[0] if len(chosen) == 1 else None


def _about_toy(read: Scan, kind: str, question: str) -> str | None:
    asked = _asked(question)
    if asked is None:
        return None
    if kind == "name":
        named = [toy for toy in read.toys if _matches(toy, asked)]
        if any(toy.level != "professional" for toy in named):
            return None
        return _only(toy.name for toy in named)
    about = [toy for toy in read.toys if toy.name == asked.name]
    return _only(_value(toy, kind) for toy in about)


def _matches(toy: Mention, wanted: Mention) -> bool:
    """Whether a mention has the color and place asked for. One of the two may be untold, but not both."""
    told = [
        (mine, asked)
        for mine, asked in ((toy.color, wanted.color), (toy.place, wanted.place))
        if mine is not None and asked is not None
    ]
    return bool(told) and toy.fits(wanted.name) and all(mine == asked for mine, asked in told)


@lru_cache(maxsize=4096)
def _values(kind: str, option: str) -> tuple[str, ...]:
    """What an option of a question means."""
    if kind == "area":
        return tuple(scan(option).areas)
    if kind == "activity":
        return tuple(activity for _, activity in scan(option).activities)
    if kind == "name":
        return tuple(toy.name for toy in scan(option).toys)
    # Bare numbers, colors and places say nothing on their own: give them a noun.
    counted = kind in ("children", "count")
    toys = scan(f"{option} toys" if counted else f"the toy is {option}").toys
    value = _value(toys[0], "count" if counted else kind) if len(toys) == 1 else None
    return () if value is None else (value,)


def _asked(question: str) -> Mention | None:
    """The toy that a question is about."""
    toys = scan(question).toys
    return toys[0] if len(toys) == 1 else None


# Verdicts -------------------------------------------------------------------------------------------------------------


def _verdict(read: Scan, claim: Claim) -> str:
    if claim.kind == "area":
        if claim.value not in read.areas:
            return "contradicted" if read.areas else "neutral"
        return "entailed" if len(read.areas) == 1 else "neutral"
    if claim.kind == "children":
        if read.children is None:
            return "neutral"
        return "entailed" if read.children == claim.value else "contradicted"
    if claim.kind == "activity":
        return _activity_verdict(read, claim)
    about = [toy for toy in read.toys if toy.fits(claim.subject)]
    if claim.kind == "name":
        return "entailed" if about else "neutral"
    values = [_value(toy, claim.kind) for toy in about]
    if any(toy.name != claim.subject for toy in about):
        # A word for the kind may mean any of its toys: one of them will do, and only a single one can speak against.
        if claim.value in values:
            return "entailed"
        return "contradicted" if len(values) == 1 and values[0] is not None and claim.subject != "toy" else "neutral"
    told = {value for value in values if value is not None}
    if told == {claim.value}:
        return "entailed"
    return "contradicted" if told and claim.value not in told else "neutral"


def _activity_verdict(read: Scan, claim: Claim) -> str:
    numbers = {number for number, activity in read.activities if activity == claim.value}
    if not numbers:
        return "contradicted" if read.complete() else "neutral"
    told = {number for number in numbers if number is not None}
    if not claim.subject or not told:
        return "entailed" if not claim.subject else "neutral"
    if told == {claim.subject}:
        return "entailed"
    return "contradicted" if claim.subject not in told else "neutral"


def _value(toy: Mention, kind: str) -> str | None:
    return {"color": toy.color, "count": toy.count, "place": toy.place}.get(kind)


def _only(values: Iterable[str | None]) -> str | None:
    """The one value that is told; None when none is, or several."""
    told = {value for value in values if value is not None}
    return told.pop() if len(told) == 1 else None
