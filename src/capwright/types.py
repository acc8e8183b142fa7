"""What everything in capwright speaks: plain frozen records, no torch, no I/O.

Data flows one way: samples -> captions -> measurements -> (an update | a report).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import Any

#: How precisely a thing is named, from the word an expert uses to the word that says almost nothing.
LEVELS = ("professional", "generic", "vague")


class Status(str, Enum):
    """What a row of a caption file, a row of a measurement or an answer of a judge can be.

    Only OK and EMPTY (a caption without words) carry a score; every other status is a failure and means *unknown*,
    which is never counted as zero. A member is its text in every way: `Status.TIMEOUT == "timeout"`.
    """

    OK = "ok"
    EMPTY = "empty"
    REFUSAL = "refusal"
    TRUNCATED = "truncated"
    UNPARSEABLE = "unparseable"
    JUDGE_ERROR = "judge_error"
    TIMEOUT = "timeout"
    MISSING_IMAGE = "missing_image"

    __str__, __repr__ = str.__str__, str.__repr__


STATUSES = tuple(Status)

EMPTY: Mapping[str, Any] = MappingProxyType({})

#: The `image` of a sample that has only text: references to score captions against.
NO_IMAGE = Path()


class CapwrightError(Exception):
    """An error a user can act on: the message names the file, line or key and says what to do.

    The command line prints the message alone, without a traceback, and exits with status 1.
    """


class DataError(CapwrightError):
    """A dataset, caption file or vocabulary cannot be used as it is."""


class ImageError(DataError):
    """One image is missing, unreadable or out of bounds; the message is one line and starts with its path."""

    def __init__(self, message: str) -> None:
        super().__init__(message.replace("\n", "\\n"))  # a path may hold a line feed


class RecipeError(CapwrightError):
    """A recipe or an override is wrong; the message names the key."""


class PluginError(CapwrightError):
    """A plugin cannot be loaded or used; the message names its file or package and says what to do."""


class ModelError(CapwrightError):
    """A model cannot be loaded or used; the message names it and says what would help."""


class RunError(CapwrightError):
    """A run cannot go on (nothing left to learn from, non-finite loss, full disk, wrong resume)."""


class ScorerError(CapwrightError):
    """A scorer cannot measure what it was asked to; the message starts with the scorer's name."""


class NotInstalledError(ScorerError):
    """A scorer needs something that is not on this machine; the message says "not installed: ..." and how to get it.

    Raised when the scorer is made or prepared, never while it measures.
    """


class OutageError(CapwrightError):
    """A judge has not answered at all for longer than the stated patience; names address and reason.

    Scorers and rewards let it through: it is no failure of some captions, but the end of what can be measured.
    """


@dataclass(frozen=True, slots=True)
class Term:
    """A name of the domain.

    Attributes:
        name: the name as an expert writes it, singular ("geoboard").
        aliases: other names that count as equally precise ("geo board").
        plurals: plural forms of the name; when empty, English rules are used.
        category: the generic name of its kind ("board"); saying only this earns partial credit.
        level: how precise the name is, one of `LEVELS`.
        tier: how often people say it ("frequent" ... "never"); free text, empty when unknown.
    """

    name: str
    aliases: tuple[str, ...] = ()
    plurals: tuple[str, ...] = ()
    category: str = ""
    level: str = "professional"
    tier: str = ""


class Vocabulary(Mapping[str, Term]):
    """The terms of a domain by name, in file order. Immutable."""

    def __init__(self, terms: Mapping[str, Term]) -> None:
        self._terms = MappingProxyType(dict(terms))

    def __getitem__(self, name: str) -> Term:
        return self._terms[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._terms)

    def __len__(self) -> int:
        return len(self._terms)


@dataclass(frozen=True, slots=True)
class Question:
    """A question about an image. `options` is empty for an open question; `answer` is the text of an option."""

    text: str
    options: tuple[str, ...] = ()
    answer: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Region:
    """A part of an image. `box` is (left, top, right, bottom) in pixels of the upright image."""

    box: tuple[float, float, float, float]
    label: str = ""
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """One image, or several that are captioned together, and everything known about it.

    Attributes:
        id: unique within its dataset.
        image: where the image is; it is decoded on use, never held. `NO_IMAGE` when there is only text.
        references: captions by experts, best first; what failed samples imitate.
        terms: the names an expert would use for what is in the image.
        questions, regions: further annotations, may be empty.
        split: "train", "val", "test" or a name of your own.
        meta: everything else, JSON values only; lists of strings in it can serve as imitation targets.
        more_images: further images of the same sample, in order; `regions` are about the first one.
    """

    id: str
    image: Path
    references: tuple[str, ...] = ()
    terms: tuple[Term, ...] = ()
    questions: tuple[Question, ...] = ()
    regions: tuple[Region, ...] = ()
    split: str = "train"
    meta: Mapping[str, Any] = field(default_factory=lambda: EMPTY)
    more_images: tuple[Path, ...] = ()

    @property
    def images(self) -> tuple[Path, ...]:
        """All images of the sample, in order."""
        return (self.image, *self.more_images)


@dataclass(frozen=True, slots=True)
class Request:
    """What a captioner is asked: a sample, an instruction, and settings that one captioner may understand."""

    sample: Sample
    prompt: str = ""
    control: Mapping[str, Any] = field(default_factory=lambda: EMPTY)


@dataclass(frozen=True, slots=True)
class Caption:
    """What a captioner said.

    Attributes:
        text: the words, special tokens removed, stripped.
        tokens: token ids, including the end token when there was one.
        logprob: sum of the natural-log probabilities of `tokens`; None when not measured.
        finish: "stop" when the captioner ended it, "length" when it was cut off.
    """

    text: str
    tokens: tuple[int, ...] = ()
    logprob: float | None = None
    finish: str = "stop"


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How captions are drawn. `temperature` 0 is greedy decoding; `top_k` 0 and `top_p` 1 switch those filters off.

    `guidance` multiplies the influence of the image (classifier-free guidance); 1 leaves the captioner as it is.
    `strategy` names a decoding strategy of a plugin; "" is none.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int = 64
    seed: int | None = None
    guidance: float = 1.0
    strategy: str = ""
