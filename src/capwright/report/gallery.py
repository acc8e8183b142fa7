"""The gallery of the report: which images are shown, and what each system said of them, name by name."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from capwright.data import load_image
from capwright.evaluation.results import MISSING
from capwright.report.run_folder import RunFolder, caption_status, label
from capwright.types import NO_IMAGE, ImageError, Sample, Status

#: Words a reader hears or sees for each kind of naming.
READINGS = {"right": "right name", "wrong": "wrong name", "generic": "generic name", "vague": "vague name"}
#: Why there is no caption to show.
REASONS = {
    MISSING: "no caption was written",
    Status.REFUSAL: "the captioner refused",
    Status.TRUNCATED: "the caption was cut off",
    Status.UNPARSEABLE: "the answer could not be read",
    Status.JUDGE_ERROR: "the judge failed",
    Status.TIMEOUT: "it took too long",
    Status.MISSING_IMAGE: "the image could not be read",
}


@dataclass(frozen=True, slots=True)
class Mark:
    """A name found in a caption: text[start:end] names `term`; status is a key of `READINGS`."""

    start: int
    end: int
    term: str
    status: str


#: Finds the names in captions: (sample, caption) pairs in, the marks of each out.
Matcher = Callable[[Sequence[tuple[Sample, str]]], list[list[Mark]]]


@dataclass(frozen=True, slots=True)
class Saying:
    """What one system said of one image: pieces of text with their status ("" for plain words).

    `hits` names said of those to name; `scores` are numbers with their names; `more` characters are not shown.
    """

    system: str
    tone: str
    pieces: tuple[tuple[str, str], ...]
    unknown: str = ""
    cut: bool = False
    hits: int | None = None
    scores: tuple[str, ...] = ()
    more: int = 0


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
    """One image of a gallery. `references` stand under the heading `said_by`; `hidden` more are not shown."""

    id: str
    shot: Shot
    alt: str
    references: tuple[str, ...]
    sayings: tuple[Saying, ...]
    chips: tuple[Chip, ...]
    names: int
    credit: tuple[tuple[str, str], ...]
    said_by: str = "Expert"
    hidden: int = 0


@dataclass(frozen=True, slots=True)
class Gallery:
    hardest: tuple[Card, ...]
    improved: tuple[Card, ...]
    note: str


def build_gallery(
    run: RunFolder, samples: Sequence[Sample], tones: Mapping[str, str], match: Matcher | None, limit: int
) -> Gallery:
    """Choose up to `limit` images by rule and prepare their cards.

    The hardest come first: lowest share of professional names said by the last system, ties by id; a quarter of the
    places goes to the images that gained most from the first system to the last. Without names to look for
    (`match` is None or no sample has terms) the first images by id are shown.
    """
    systems = [name for name in run.systems if name in run.captions]
    if not systems or not samples or limit < 1:
        missing = "the run wrote no captions" if not systems else "no samples were given"
        return Gallery((), (), f"There are no images to show: {missing}.")
    marks = {name: _read(run, samples, name, match) for name in systems}
    last, first = systems[-1], systems[0]
    scores = {name: [_share(sample, found) for sample, found in zip(samples, marks[name])] for name in {first, last}}
    scored = [place for place in range(len(samples)) if scores[last][place] is not None]
    if scored:
        ranked = sorted(scored, key=lambda place: (scores[last][place], samples[place].id))
        gains = {p: (scores[last][p] or 0) - was for p in scored if (was := scores[first][p]) is not None}
        risen = sorted((p for p in gains if gains[p] > 0), key=lambda p: (-gains[p], samples[p].id))
        hard = ranked[: max(limit - min(len(risen), limit // 4), 1)]
        shown = set(hard)
        best = [place for place in risen if place not in shown][: limit - len(hard)]
        note = _note(len(samples), len(scored), len(hard), len(best), label(first), label(last))
    else:
        hard, best = sorted(range(len(samples)), key=lambda place: samples[place].id)[:limit], []
        note = (
            f"The first {len(hard)} of {len(samples):,} images by id: without professional names to look for, none is "
            "harder than another."
        )
    cards = {
        place: _card(run, samples[place], systems, tones, {s: marks[s][place] for s in systems})
        for place in [*hard, *best]
    }
    return Gallery(tuple(cards[p] for p in hard), tuple(cards[p] for p in best), note)


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


def _read(run: RunFolder, samples: Sequence[Sample], system: str, match: Matcher | None) -> list[list[Mark] | None]:
    """The marks of every sample's caption; None where the caption is unknown or names cannot be looked for."""
    rows = run.captions[system]
    known = [p for p, s in enumerate(samples) if caption_status(rows.get(s.id)) in ("ok", "empty")]
    found: list[list[Mark] | None] = [None] * len(samples)
    if match is not None:
        texts = [(samples[place], _text(rows[samples[place].id])) for place in known]
        for place, marks in zip(known, match(texts)):
            found[place] = marks
    return found


def _share(sample: Sample, marks: list[Mark] | None) -> float | None:
    names = names_of(sample)
    return None if marks is None or not names else len(names_said(names, marks)) / len(names)


def names_of(sample: Sample) -> list[str]:
    """The professional names of what is in the image."""
    return list(dict.fromkeys(term.name for term in sample.terms if term.level == "professional"))


def names_said(names: Sequence[str], marks: Sequence[Mark]) -> set[str]:
    """Which of the names the marks find in a caption."""
    return {mark.term for mark in marks if mark.status == "right"} & set(names)


def _text(row: Mapping[str, Any]) -> str:
    caption = row.get("caption")
    return caption if isinstance(caption, str) else ""


def _card(
    run: RunFolder,
    sample: Sample,
    systems: Sequence[str],
    tones: Mapping[str, str],
    marks: Mapping[str, list[Mark] | None],
) -> Card:
    names = names_of(sample)
    sayings = []
    for system in systems:
        row = run.captions[system].get(sample.id)
        status = caption_status(row)
        found = marks[system]
        unknown = "" if row is not None and status in ("ok", "empty") else REASONS.get(status, status)
        pieces = () if unknown or row is None else pieces_of(_text(row), found or ())
        cut = row is not None and row.get("finish") == "length"
        hits = None if found is None else len(names_said(names, found))
        sayings.append(Saying(label(system), tones[system], pieces, unknown, cut, hits))
    chips = chips_of(sample, [(label(system), tones[system], marks[system] or ()) for system in systems])
    references = sample.references[:1]
    alt = references[0] if references else f"Image {sample.id}"
    credit = credit_of(sample)
    return Card(shown_id(sample), shot_of(sample), alt, references, tuple(sayings), chips, len(names), credit)


def shot_of(sample: Sample) -> Shot:
    """The image of a sample (the first of several), made small."""
    if sample.image == NO_IMAGE:
        return Shot("", 0, 0, "")
    try:
        return Shot(*image_uri(sample.image), "")
    except ImageError:
        return Shot("", 0, 0, "The image could not be read.")


def shown_id(sample: Sample) -> str:
    """The id, and that there are further images."""
    return f"{sample.id} (first of {len(sample.images)} images)" if sample.more_images else sample.id


def chips_of(sample: Sample, systems: Sequence[tuple[str, str, Sequence[Mark]]]) -> tuple[Chip, ...]:
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


def _note(samples: int, scored: int, hard: int, best: int, first: str, last: str) -> str:
    note = (
        f"Chosen by rule, not by hand: of {samples:,} images, the {hard} with the lowest share of "
        f"professional names said by {last}, ties by id"
    )
    if best:
        note += f"; then the {best} that gained most from {first} to {last}"
    if scored < samples:
        note += f". {samples - scored} images have no names to look for or no known caption and were not candidates"
    return note + "."
