"""Which images a page shows: chosen by rule, never by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from capwright.report.cards import Card, Mark, Matcher, Said, Wall, make_card, names_of, names_said
from capwright.report.parts import Score, System
from capwright.report.run_folder import caption_status
from capwright.report.run_sheet import RunSheet
from capwright.report.score_sheet import ScoreSheet, values_of
from capwright.types import Sample


def run_walls(sheet: RunSheet, samples: Sequence[Sample], match: Matcher | None, limit: int) -> tuple[list[Wall], str]:
    """Up to `limit` images of a run; without any, why there are none.

    The hardest come first: lowest share of professional names said by the last system, ties by id; a quarter of the
    places goes to the images that gained most from the first system to the last. Without names to look for
    (`match` is None or no sample has terms) the first images by id are shown.
    """
    captions = sheet.run.captions
    systems = [system for system in sheet.systems if system.key in captions]
    if not systems or not samples or limit < 1:
        missing = "the run wrote no captions" if not systems else "no samples were given"
        return [], f"There are no images to show: {missing}."
    last, first = systems[-1], systems[0]
    said = {system.key: [_said(sheet, system, sample) for sample in samples] for system in systems}
    scores = {key: _shares(samples, said[key], match) for key in {first.key, last.key}}
    scored = [place for place, share in enumerate(scores[last.key]) if share is not None]
    if scored:
        ranked = sorted(scored, key=lambda place: (scores[last.key][place], samples[place].id))
        gains = {p: (scores[last.key][p] or 0) - was for p in scored if (was := scores[first.key][p]) is not None}
        risen = sorted((p for p in gains if gains[p] > 0), key=lambda p: (-gains[p], samples[p].id))
        hard = ranked[: max(limit - min(len(risen), limit // 4), 1)]
        best = [place for place in risen if place not in set(hard)][: limit - len(hard)]
        heading, rule = "Hardest first", f"Chosen by rule, not by hand: of {len(samples):,} images, the {len(hard)} "
        rule += f"with the lowest share of professional names said by {last.name}, ties by id"
        if best:
            rule += f"; then the {len(best)} that gained most from {first.name} to {last.name}"
        if len(scored) < len(samples):
            rule += f". {len(samples) - len(scored)} images have no names to look for or no known caption and were not "
            rule += "candidates"
    else:
        hard, best = sorted(range(len(samples)), key=lambda place: samples[place].id)[:limit], []
        heading, rule = "Images", f"The first {len(hard)} of {len(samples):,} images by id: without professional names "
        rule += "to look for, none is harder than another"
    chosen = [(heading, f"{rule}.", hard), ("Most improved", "", best)]
    return _walls(chosen, lambda p: make_card(samples[p], [said[s.key][p] for s in systems], match, False)), ""


def score_walls(sheet: ScoreSheet, match: Matcher | None, limit: int) -> list[Wall]:
    """Up to `limit` images of scored captions: the worst by the leading score, then the largest disagreements.

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
    return _walls(chosen, lambda place: _card(sheet, place, match))


def _walls(chosen: Iterable[tuple[str, str, list[int]]], card: Callable[[int], Card]) -> list[Wall]:
    """Cards of images under (heading, rule), without walls that would be empty."""
    return [Wall(heading, rule, tuple(map(card, places))) for heading, rule, places in chosen if places]


def _said(sheet: RunSheet, system: System, sample: Sample) -> Said:
    """What the captions of a run say of an image."""
    row = sheet.run.captions[system.key].get(sample.id)
    caption = (row or {}).get("caption")
    cut = row is not None and row.get("finish") == "length"
    return Said(system.name, system.tone, (caption if isinstance(caption, str) else "",), caption_status(row), cut)


def _shares(samples: Sequence[Sample], said: Sequence[Said], match: Matcher | None) -> list[float | None]:
    """Of the names in each image the share that is said; None without names or a known caption."""
    pairs = [(place, text) for place, one in enumerate(said) for text in one.shown] if match is not None else []
    found: list[list[Mark]] = match([(samples[place], text) for place, text in pairs]) if match is not None else []
    shares: list[float | None] = [None] * len(samples)
    for (place, _), marks in zip(pairs, found):
        names = names_of(samples[place])
        shares[place] = len(names_said(names, marks)) / len(names) if names else None
    return shares


def _gaps(sheet: ScoreSheet, lead: Score) -> tuple[NDArray[np.float64], str]:
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


def _card(sheet: ScoreSheet, place: int, match: Matcher | None) -> Card:
    said = []
    for system in sheet.systems:
        image = system.evaluation.per_image[place]
        values = [(score, image.scores.get(score.scorer, {}).get(score.output)) for score in sheet.headlines]
        scores = tuple(
            f"{score.name} {score.text(value)}" for score, value in values if score.better and value is not None
        )
        said.append(Said(system.name, system.tone, (image.caption, *image.others), image.status, scores=scores))
    return make_card(sheet.samples[place], said, match)
