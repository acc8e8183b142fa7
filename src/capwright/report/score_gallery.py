"""The images of the report of scored captions: the worst, those that systems differ in most, and what scores saw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capwright.report.gallery import (
    REASONS,
    Card,
    Mark,
    Matcher,
    Saying,
    chips_of,
    credit_of,
    names_of,
    names_said,
    pieces_of,
    shot_of,
    shown_id,
)
from capwright.report.ngram_marks import ngram_marks, shade
from capwright.report.score_sheet import Score, Sheet, System, values_of
from capwright.scorers import SCORED
from capwright.types import Sample

#: Characters of a caption, and references of an image, that a card shows at most.
MOST_CHARACTERS = 900
MOST_REFERENCES = 8
#: Captions of one image that a card shows of one system, at most.
MOST_CAPTIONS = 3


@dataclass(frozen=True, slots=True)
class Wall:
    """Cards under a heading, with the rule that chose them."""

    heading: str
    rule: str
    cards: tuple[Card, ...]


def build_walls(sheet: Sheet, match: Matcher | None, limit: int) -> list[Wall]:
    """Up to `limit` images: the worst by the leading score, then those with the largest disagreement.

    The worst are those of the last system; neither is chosen where the score has no better direction. Disagreement is
    between the first and the last system, or, for one system, between two scores, by the rank that each gives the
    image. Ties go to the sample that comes first. An image is shown once.
    """
    if sheet.lead is None or limit < 1:
        return []
    chosen: list[tuple[str, str, list[int]]] = []
    last = sheet.systems[-1]
    values = values_of(last, sheet.lead)
    known = np.isfinite(values)
    gaps, between = _gaps(sheet, sheet.lead)
    parted = [p for p in _first(-gaps, len(gaps)) if gaps[p] > 0]
    shown: set[int] = set()
    if sheet.lead.better:
        worst = _first(values * sheet.lead.better, max(limit - min(len(parted), limit // 2), 1))
        shown = set(worst)
        rule = f"Chosen by rule, not by hand: the {len(worst)} of {int(known.sum()):,} images with the "
        rule += f"{'lowest' if sheet.lead.better > 0 else 'highest'} {sheet.lead.name} of {last.name}."
        chosen.append(("Worst first", rule, worst))
    apart = [p for p in parted if p not in shown][: limit - len(shown)]
    if apart:
        heading = "Where they differ most" if len(sheet.systems) > 1 else "Where two scores disagree"
        chosen.append((heading, between, apart))
    marks = _marks(sheet, [p for _, _, places in chosen for p in places], match)
    return [Wall(h, rule, tuple(_card(sheet, p, marks.get(p)) for p in places)) for h, rule, places in chosen if places]


def _gaps(sheet: Sheet, lead: Score) -> tuple[NDArray[np.float64], str]:
    """How far two views of each image are apart [images], and which views they are."""
    first, last = sheet.systems[0], sheet.systems[-1]
    if len(sheet.systems) > 1:
        gaps = np.abs(values_of(last, lead) - values_of(first, lead))
        return gaps, f"The largest differences in {lead.name} between {first.name} and {last.name}."
    others = [s for s in sheet.headlines if s.scorer != lead.scorer and s.better and s.unit != "set"]
    if not others or not lead.better:
        return np.full(len(sheet.samples), np.nan), ""
    other = min(others, key=lambda score: score.scorer == "bleu")
    ours, theirs = _ranks(values_of(first, lead) * lead.better), _ranks(values_of(first, other) * other.better)
    return np.abs(ours - theirs), (
        f"The images that {lead.name} and {other.name} rank most differently among all: one of the two misjudges them."
    )


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean rank from 0 to 1 among the known values; NaN where unknown."""
    ranks = np.full(len(values), np.nan)
    known = np.isfinite(values)
    if known.sum() > 1:
        _, place, counts = np.unique(values[known], return_inverse=True, return_counts=True)
        ends = np.cumsum(counts)
        ranks[known] = ((ends - (counts + 1) / 2) / (known.sum() - 1))[place]
    return ranks


def _first(values: NDArray[np.float64], count: int) -> list[int]:
    """Places of the lowest known values, ties in order."""
    order = np.argsort(values, kind="stable")
    return [int(place) for place in order[:count] if math.isfinite(values[place])]


def _marks(sheet: Sheet, places: Sequence[int], match: Matcher | None) -> dict[int, list[list[list[Mark]]]]:
    """Names of the domain by place, system and caption, for all cards in one go."""
    if match is None:
        return {}
    keys = [
        (place, number, text)
        for place in places
        for number, system in enumerate(sheet.systems)
        for text in _captions(system, place)
    ]
    found = match([(sheet.samples[place], text) for place, _, text in keys])
    marks: dict[int, list[list[list[Mark]]]] = {place: [[] for _ in sheet.systems] for place in places}
    for (place, number, _), own in zip(keys, found):
        marks[place][number].append(own)
    return marks


def _captions(system: System, place: int) -> list[str]:
    """The captions of an image that a card shows; none where they are unknown."""
    image = system.evaluation.per_image[place]
    return [image.caption, *image.others][:MOST_CAPTIONS] if image.status in SCORED else []


def _card(sheet: Sheet, place: int, marks: list[list[list[Mark]]] | None) -> Card:
    sample = sheet.samples[place]
    names = names_of(sample)
    sayings: list[Saying] = []
    for number, system in enumerate(sheet.systems):
        sayings += _sayings(sheet, system, place, None if marks is None else marks[number])
    said = [(s.name, s.tone, [mark for own in found for mark in own]) for s, found in zip(sheet.systems, marks or ())]
    references = tuple(_cut(reference) for reference in sample.references[:MOST_REFERENCES])
    return Card(
        id=shown_id(sample),
        shot=shot_of(sample),
        alt=references[0] if references else f"Image {sample.id}",
        references=references,
        sayings=tuple(sayings),
        chips=chips_of(sample, said) if said else (),
        names=len(names),
        credit=credit_of(sample),
        said_by="Reference" if len(sample.references) == 1 else "References",
        hidden=len(sample.references) - len(references),
    )


def _sayings(sheet: Sheet, system: System, place: int, marks: list[list[Mark]] | None) -> list[Saying]:
    image, sample = system.evaluation.per_image[place], sheet.samples[place]
    numbers = [(score, values_of_image(system, score, place)) for score in sheet.headlines if score.better]
    scores = tuple(f"{score.name} {score.text(value)}" for score, value in numbers if value is not None)
    captions = _captions(system, place)
    if not captions:
        return [Saying(system.name, system.tone, (), REASONS.get(image.status, image.status), scores=scores)]
    sayings = []
    for number, text in enumerate(captions):
        found = marks[number] if marks else []
        hits = len(names_said(names_of(sample), found)) if marks else None
        who = system.name if number == 0 else f"{system.name}, caption {number + 1} of {1 + len(image.others)}"
        pieces = _pieces(text, found, sample)
        more = max(len(text) - MOST_CHARACTERS, 0)
        sayings.append(Saying(who, system.tone, pieces, hits=hits, scores=() if number else scores, more=more))
    return sayings


def values_of_image(system: System, score: Score, place: int) -> float | None:
    """The score of one image; None where unknown, or where only all images have one."""
    return system.evaluation.per_image[place].scores.get(score.scorer, {}).get(score.output)


def _pieces(text: str, marks: Sequence[Mark], sample: Sample) -> tuple[tuple[str, str], ...]:
    """The caption cut at the names in it, each piece shaded where references say the same."""
    shades = ngram_marks(text, sample.references)
    pieces, start = [], 0
    for piece, status in pieces_of(text[:MOST_CHARACTERS], marks):
        pieces.append((shade(piece, shades, start), status))
        start += len(piece)
    return tuple(pieces)


def _cut(text: str) -> str:
    more = len(text) - MOST_CHARACTERS
    return f"{text[:MOST_CHARACTERS]} … and {more:,} more characters" if more > 0 else text
