"""Charts of scored captions: a score against the length of the caption."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from capwright.report.charts import Band, Frame, Point, draw
from capwright.report.pages import one_decimal
from capwright.report.parts import Figure, Score
from capwright.report.score_sheet import ScoredSystem, ScoreSheet, values_of

#: Dots that a chart shows at most, evenly taken from all.
MOST_DOTS = 400
#: Images that a point of the mean line stands for, at least.
LEAST_IN_BIN = 20
_BINS = 8


def scatters(sheet: ScoreSheet, score: Score) -> list[Figure]:
    """A score of each image against the words of its caption: one chart a system, all with the same axes.

    The right edge is the 99th percentile of all lengths, the upper one the 99.5th of all scores: the few images beyond
    stand on the edge.
    """
    points = [(system.words, values_of(system, score)) for system in sheet.systems]
    known = [np.isfinite(words) & np.isfinite(values) for words, values in points]
    lengths = np.concatenate([words[k] for (words, _), k in zip(points, known)])
    values = np.concatenate([values[k] for (_, values), k in zip(points, known)])
    if not len(values):
        return [Figure(system.name, absent="No image has both a length and a score.") for system in sheet.systems]
    right = float(np.quantile(lengths, 0.99, method="inverted_cdf"))
    top = float(np.quantile(values, 0.995, method="inverted_cdf"))
    edges = (0.0, right or 1.0), (min(float(values.min()), 0.0), _roof(top))
    return [
        _scatter(system, score, words[k], values[k], edges)
        for system, (words, values), k in zip(sheet.systems, points, known)
    ]


def _scatter(
    system: ScoredSystem,
    score: Score,
    words: NDArray[np.float64],
    values: NDArray[np.float64],
    edges: tuple[Point, Point],
) -> Figure:
    note = "" if system.mean_words is None else f"{one_decimal(system.mean_words)} words a caption"
    if not len(words):
        absent = "No image of this system has both a length and a score."
        return Figure(system.name, absent=absent, tone=system.tone, note=note)
    (left, right), (bottom, top) = edges
    frame = Frame([Band("", left, right)], top, bottom, height=190, axis="words")
    order = np.lexsort((values, words))
    line = mean_line(words[order], values[order])
    kept = order[:: max(-(-len(order) // MOST_DOTS), 1)]
    # steps to the side by less than half a word, always the same, so that dots of one length can be told apart
    aside = [0.7 * ((n * 0.6180339887) % 1 - 0.5) for n in range(len(kept))]
    dots = [(x + step, y) for x, y, step in zip(words[kept].tolist(), values[kept].tolist(), aside)]
    beyond = int(((words > right) | (values > top)).sum())
    says = [f"{len(kept):,} of {len(words):,} images." if len(kept) < len(words) else f"{len(words):,} images."]
    if len(line) > 1:
        (short, at_short), (long, at_long) = line[0], line[-1]
        says.append(
            f"Line: from {short:.0f} to {long:.0f} words the mean goes from {score.text(at_short)} to "
            f"{score.text(at_long)}."
        )
    if beyond:
        says.append(f"{beyond:,} outside the frame {'is' if beyond == 1 else 'are'} drawn at its edge.")
    inside = [(min(x, right), y) for x, y in line]
    about = f"{score.name} of {system.name} against words. {' '.join(says)}"
    chart = draw("scatter", frame, dots, inside if len(line) > 1 else (), about, system.tone)
    return Figure(system.name, chart, " ".join(says), tone=system.tone, note=note)


def mean_line(words: NDArray[np.float64], values: NDArray[np.float64]) -> list[Point]:
    """Mean score of up to eight bins with about as many images each: (mean words, mean score). `words` ascend.

    Images of one length are never parted. Without enough images for two bins the line is empty.
    """
    bins = min(_BINS, len(words) // LEAST_IN_BIN)
    if bins < 2:
        return []
    cuts = np.unique(np.quantile(words, np.arange(1, bins) / bins, method="inverted_cdf"))
    place = np.searchsorted(cuts, words)
    found = [place == n for n in range(len(cuts) + 1) if (place == n).any()]
    return [(float(words[bin].mean()), float(values[bin].mean())) for bin in found]


def _roof(value: float) -> float:
    """A round number at or above a value."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * power >= value * (1 - 1e-9))
