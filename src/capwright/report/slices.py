"""Scores of parts of the images: by length, by number of references, by what the samples say of themselves."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capwright.evaluation.results import Estimate
from capwright.evaluation.stats.bootstrap import known
from capwright.evaluation.stats.intervals import estimate, gather, join
from capwright.report.parts import TIERS, Score
from capwright.report.score_sheet import ScoredSystem, ScoreSheet
from capwright.types import Sample

#: A division into more parts than this keeps the largest ones.
MOST_PARTS = 8
#: Keys of `Sample.meta` that divide the images.
META_KEYS = ("slice", "category")


@dataclass(frozen=True, slots=True)
class Slice:
    """Some of the images: their places, and the score of every system on them with how many of them it is of."""

    name: str
    images: NDArray[np.int64]
    measures: tuple[tuple[Estimate, int], ...]


@dataclass(frozen=True, slots=True)
class Division:
    """A way to divide the images; `left_out` says what is not shown. Parts may overlap."""

    name: str
    parts: tuple[Slice, ...]
    left_out: str = ""

    @property
    def measures(self) -> list[Estimate]:
        """Of all systems on all parts."""
        return [measure for part in self.parts for measure, _ in part.measures]


def divide(sheet: ScoreSheet, score: Score) -> list[Division]:
    """All divisions with two parts or more, measured. Lengths are cut into thirds, texts into their values."""
    divisions = []
    for name, labels in _divisions(sheet):
        members = _members(labels)
        if len(members) < 2:
            continue
        largest = sorted(members, key=lambda part: (-len(members[part]), part))[:MOST_PARTS]
        shown = {key: places for key, places in members.items() if key in largest}
        left_out = f"{len(members) - len(shown):,} smaller ones are not shown" if len(shown) < len(members) else ""
        parts = tuple(
            Slice(key, places, tuple(measure_part(sheet.systems, score, places))) for key, places in shown.items()
        )
        divisions.append(Division(name, parts, left_out))
    return divisions


def measure_part(
    systems: Sequence[ScoredSystem], score: Score, images: NDArray[np.int64]
) -> list[tuple[Estimate, int]]:
    """The score of each system on the images of a part, and how many of them it knows.

    Value and interval are made as on the whole page, of the images (or clusters) of the part. Both are unknown for
    fewer than two images. Contexts (an idf table) stay those of all images.
    """
    found: list[tuple[Estimate, int]] = []
    for system in systems:
        evaluation, one, n = system.evaluation, Estimate(), 0
        measured = evaluation.scores.get(score.scorer)
        if measured is not None:
            counted = np.isin(np.arange(len(measured.known)), images) & measured.known
            rows, n = gather([measured.rows], counted, evaluation.clusters), int(counted.sum())
            if len(rows) > 1:
                finalize, ranges = join([measured.scorer], [measured.context], [rows])
                ends = estimate(rows, finalize, ranges, evaluation.how)
                one = Estimate(*(known(part[score.column]) for part in (ends.value, ends.low, ends.high)))
        found.append((one, n))
    return found


def _divisions(sheet: ScoreSheet) -> Iterable[tuple[str, list[tuple[str, ...]]]]:
    """(name, the parts that each sample is in)."""
    samples = sheet.samples
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # an image without any known caption is in no part
        words = np.nanmean([system.words for system in sheet.systems], axis=0)
    of = "" if len(sheet.systems) == 1 else ", mean of all systems"
    yield f"Words of the caption{of}", _thirds(words)
    yield "References of the image", _counts([len(sample.references) for sample in samples])
    yield "Split", [_texts(sample.split) for sample in samples]
    for key in META_KEYS:
        yield key.capitalize(), [_texts(sample.meta.get(key)) for sample in samples]
    yield "Tier of a name in the image", [_of_terms(sample, lambda term: term.tier) for sample in samples]
    yield "Kind of a name in the image", [_of_terms(sample, lambda term: term.category) for sample in samples]


def _members(labels: Sequence[tuple[str, ...]]) -> dict[str, NDArray[np.int64]]:
    found: dict[str, list[int]] = {}
    for place, parts in enumerate(labels):
        for part in dict.fromkeys(parts):
            found.setdefault(part, []).append(place)
    return {part: np.array(places) for part, places in sorted(found.items(), key=lambda item: _rank(item[0]))}


def _rank(part: str) -> tuple[float, str]:
    """Numbers by value, tiers from frequent to never, the rest by the alphabet."""
    if part in TIERS:
        return TIERS.index(part), ""
    try:
        return float(part.split()[0]), part
    except ValueError:
        return math.inf, part


def _thirds(words: NDArray[np.float64]) -> list[tuple[str, ...]]:
    """Each image's third by length; images of one length are never parted, so thirds may differ in size."""
    known_words = words[np.isfinite(words)]
    if not len(known_words):
        return [()] * len(words)
    cuts = np.unique(np.quantile(known_words, [1 / 3, 2 / 3], method="inverted_cdf"))
    place = np.searchsorted(cuts, words)
    names = {}
    for third in np.unique(place[np.isfinite(words)]).tolist():
        own = words[np.isfinite(words) & (place == third)]
        low, high = f"{own.min():.3g}", f"{own.max():.3g}"
        names[third] = low if low == high else f"{low} to {high}"
    return [(names[p],) if np.isfinite(w) else () for p, w in zip(place.tolist(), words.tolist())]


def _counts(counts: Sequence[int]) -> list[tuple[str, ...]]:
    """Numbers as texts; when there are many different ones, the highest are put together."""
    different = sorted(set(counts))
    last = different[min(MOST_PARTS, len(different)) - 1]
    return [(f"{last} or more" if count >= last and last < different[-1] else str(count),) for count in counts]


def _texts(value: Any) -> tuple[str, ...]:
    """The parts that a value of `meta` puts a sample in: a text or a number one, a list of them several."""
    several = value if isinstance(value, (list, tuple)) else [value]
    return tuple(str(one) for one in several if isinstance(one, (str, int, float)) and str(one).strip())


def _of_terms(sample: Sample, what: Callable[[Any], str]) -> tuple[str, ...]:
    return tuple(what(term) for term in sample.terms if term.level == "professional" and what(term).strip())
