"""Cards of a gallery: an image, what each system said of it, the names in it, and whose photo it is."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from capwright.data import load_image
from capwright.report.ngram_marks import ngram_marks, shade
from capwright.report.parts import WORDS
from capwright.scorers import SCORED
from capwright.types import NO_IMAGE, ImageError, Sample

#: How well a name in a caption fits.
READINGS = ("right", "wrong", "generic", "vague")


#: Characters of a caption, references of an image, and captions of one system that a card shows at most.
MOST_CHARACTERS = 900
MOST_REFERENCES = 8
MOST_CAPTIONS = 3


@dataclass(frozen=True, slots=True)
class Mark:
    """A name found in a caption: text[start:end] names `term`; status is one of `READINGS`."""

    start: int
    end: int
    term: str
    status: str


#: Finds the names in captions: (sample, caption) pairs in, the marks of each out.
Matcher = Callable[[Sequence[tuple[Sample, str]]], list[list[Mark]]]


@dataclass(frozen=True, slots=True)
class Said:
    """What one system said of one image: one caption or several, with its status; `scores` are numbers with their
    names."""

    system: str
    tone: str
    captions: tuple[str, ...]
    status: str = "ok"
    cut: bool = False
    scores: tuple[str, ...] = ()

    @property
    def shown(self) -> tuple[str, ...]:
        """The captions that a card shows; none where they are unknown."""
        return self.captions[:MOST_CAPTIONS] if self.status in SCORED else ()

    @property
    def unknown(self) -> str:
        """Why there is no caption to show."""
        return WORDS["reasons"].get(self.status, self.status)


@dataclass(frozen=True, slots=True)
class Saying:
    """A caption as pieces of text with their status ("" for plain words).

    `hits` names said of those to name; `more` characters are not shown.
    """

    pieces: tuple[tuple[str, str], ...]
    hits: int | None
    more: int


@dataclass(frozen=True, slots=True)
class Chip:
    """A name an expert would use here, and the systems that used it."""

    name: str
    tier: str
    hit_by: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Shot:
    """An image inside the page, or the reason why there is none; both are empty for a sample that is only text."""

    image: str
    width: int
    height: int
    problem: str


@dataclass(frozen=True, slots=True)
class Card:
    """One image of a gallery. `sayings` are what each system said, with its captions that are shown; `references` stand
    under the heading `said_by`, and `hidden` more are not shown."""

    id: str
    shot: Shot
    alt: str
    references: tuple[str, ...]
    sayings: tuple[tuple[Said, list[Saying]], ...]
    chips: tuple[Chip, ...]
    credit: tuple[tuple[str, str], ...]
    said_by: str
    hidden: int


@dataclass(frozen=True, slots=True)
class Wall:
    """Cards under a heading, with the rule that chose them."""

    heading: str
    rule: str
    cards: tuple[Card, ...]


def make_card(sample: Sample, said: Sequence[Said], match: Matcher | None, shaded: bool = True) -> Card:
    """The card of an image.

    Args:
        sample: with its references and the names in it.
        said: of each system.
        match: marks names of the domain; None where there are none to look for.
        shaded: of scored captions: all references are shown, and words shaded that one of them says too. Otherwise the
            first stands there as what an expert says.
    """
    names = names_of(sample)
    texts = [text for one in said for text in one.shown]
    found = iter(match([(sample, text) for text in texts]) if match is not None and texts else [])
    sayings, systems = [], []
    for one in said:
        marks = [next(found, []) for _ in one.shown]
        systems.append((one.system, one.tone, [mark for own in marks for mark in own]))
        captions = [
            Saying(
                _shaded(text, own, sample.references) if shaded else pieces_of(text, own),
                None if match is None else len(names_said(names, own)),
                max(len(text) - MOST_CHARACTERS, 0) if shaded else 0,
            )
            for text, own in zip(one.shown, marks)
        ]
        sayings.append((one, captions))
    references = sample.references[:1]
    heading = "Expert"
    if shaded:
        references = tuple(_cut(reference) for reference in sample.references[:MOST_REFERENCES])
        heading = "Reference" if len(sample.references) == 1 else "References"
    return Card(
        id=f"{sample.id} (first of {len(sample.images)} images)" if sample.more_images else sample.id,
        shot=shot_of(sample),
        alt=references[0] if references else f"Image {sample.id}",
        references=references,
        sayings=tuple(sayings),
        chips=() if match is None else _chips(sample, systems),
        credit=credit_of(sample),
        said_by=heading,
        hidden=len(sample.references) - len(references) if shaded else 0,
    )


def credits_of(walls: Iterable[Wall]) -> list[tuple[str, tuple[tuple[str, str], ...]]]:
    """(id, credit) of the photos that have one."""
    return [(card.id, card.credit) for wall in walls for card in wall.cards if card.credit]


def image_uri(path: Any, side: int = 320) -> tuple[str, int, int]:
    """The image as a data URI no larger than `side` pixels, as PNG or JPEG, whichever is smaller; with its size.

    Raises:
        ImageError: the image is missing or cannot be read.
    """
    image = load_image(path, max_pixels=16 * side * side)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    encoded: list[tuple[int, str, bytes]] = []
    for kind, options in (("png", {"optimize": True}), ("jpeg", {"quality": 85, "optimize": True})):
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        encoded.append((len(buffer.getvalue()), kind, buffer.getvalue()))
    _, kind, data = min(encoded)
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}", image.width, image.height


def names_of(sample: Sample) -> list[str]:
    """The professional names of what is in the image."""
    return list(dict.fromkeys(term.name for term in sample.terms if term.level == "professional"))


def names_said(names: Sequence[str], marks: Sequence[Mark]) -> set[str]:
    """Which of the names the marks find in a caption."""
    return {mark.term for mark in marks if mark.status == "right"} & set(names)


def shot_of(sample: Sample) -> Shot:
    """The image of a sample (the first of several), made small."""
    if sample.image == NO_IMAGE:
        return Shot("", 0, 0, "")
    try:
        return Shot(*image_uri(sample.image), "")
    except ImageError:
        return Shot("", 0, 0, "The image could not be read.")


def _chips(sample: Sample, systems: Sequence[tuple[str, str, Sequence[Mark]]]) -> tuple[Chip, ...]:
    """The names to say of a sample, each with the systems that said it; systems are (name, tone, marks)."""
    tiers = {term.name: term.tier for term in sample.terms}
    names = names_of(sample)
    said = [(name, tone, names_said(names, marks)) for name, tone, marks in systems]
    return tuple(Chip(n, tiers[n], tuple((who, tone) for who, tone, hits in said if n in hits)) for n in names)


def pieces_of(text: str, marks: Sequence[Mark]) -> tuple[tuple[str, str], ...]:
    """Cut a caption at its marks: (text, status) pairs that join to the caption. Marks that overlap an earlier one
    or leave the text are passed over."""
    pieces, place = [], 0
    for mark in sorted(marks, key=lambda m: (m.start, -m.end)):
        if mark.start < place or mark.end > len(text) or mark.end <= mark.start:
            continue
        if mark.start > place:
            pieces.append((text[place : mark.start], ""))
        pieces.append((text[mark.start : mark.end], mark.status if mark.status in READINGS else ""))
        place = mark.end
    if place < len(text):
        pieces.append((text[place:], ""))
    return tuple(pieces)


def credit_of(sample: Sample) -> tuple[tuple[str, str], ...]:
    """Who made the image, under which license: (text, link or "") pairs, from `meta` keys author, source_url
    (or photo), license and license_url. Only http(s) addresses become links."""
    meta = sample.meta
    author, source = _word(meta, "author"), _word(meta, "source_url") or _word(meta, "photo")
    license, license_url = _word(meta, "license"), _word(meta, "license_url")
    if not (source or license):
        return ()
    parts = [(author or "Photo", _web(source))]
    if license or license_url:
        parts.append((_license_name(license or license_url), _web(license_url) or _web(license)))
    return tuple(parts)


def _license_name(license: str) -> str:
    """ "https://creativecommons.org/licenses/by-sa/2.0/" is "CC BY-SA 2.0"; anything else is its own name."""
    parts = license.rstrip("/").split("/")
    if "creativecommons.org" in license and "licenses" in parts[:-1]:
        rest = parts[parts.index("licenses") + 1 :]
        return "CC " + " ".join([rest[0].upper(), *rest[1:2]])
    return license


def _word(meta: Mapping[str, Any], key: str) -> str:
    value = meta.get(key)
    return value.strip() if isinstance(value, str) else ""


def _web(address: str) -> str:
    return address if address.startswith(("https://", "http://")) else ""


def _shaded(text: str, marks: Sequence[Mark], references: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The caption cut at the names in it, each piece shaded where references say the same."""
    shades = ngram_marks(text, references)
    pieces, start = [], 0
    for piece, status in pieces_of(text[:MOST_CHARACTERS], marks):
        pieces.append((shade(piece, shades, start), status))
        start += len(piece)
    return tuple(pieces)


def _cut(text: str) -> str:
    more = len(text) - MOST_CHARACTERS
    return f"{text[:MOST_CHARACTERS]} … and {more:,} more characters" if more > 0 else text
