"""Charts as inline SVG: no library, no script, crisp at any width, at home in light and dark.

Widths are percentages and heights are pixels, so text keeps its size while the image stretches. Curves live in a
nested `<svg>` whose x axis is stretched (0 to 1000) and whose strokes do not scale. Colors come from the page: an
element of class `tone-N` has its system's color as `currentColor`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from capwright.report.pages import templates

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Series:
    """A line of one or more stretches of (x, y) in data units; `raw` is drawn faintly behind; `dots` marks points."""

    label: str
    stretches: tuple[tuple[Point, ...], ...]
    tone: str
    raw: tuple[tuple[Point, ...], ...] = ()
    dots: bool = False
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of the x axis with a name: a training stage."""

    label: str
    start: float
    end: float


def line_chart(series: Sequence[Series], bands: Sequence[Band], about: str, top: float, bottom: float = 0) -> Markup:
    """Lines over images seen, labeled at their ends; the y axis runs from `bottom` to `top`.

    `about` is what a person who cannot see it should know.
    """
    frame = Frame(bands, top, bottom)
    ends = [(frame.y(line.stretches[-1][-1][1]), line.label, line.tone) for line in series]
    return draw("line_chart", frame, series, ends, about)


def area_chart(
    parts: Sequence[tuple[str, str]],
    stretches: Sequence[Sequence[tuple[float, Sequence[float]]]],
    bands: Sequence[Band],
    ticks_below: Sequence[float],
    about: str,
) -> Markup:
    """Shares of a whole over images seen, stacked from the bottom in the order given.

    `parts` are (label, tone); a stretch has no gap, its points are (x, share of each part, between 0 and 1).
    `ticks_below` are x positions marked under the chart.
    """
    frame = Frame(bands, 1.0, typical=560)
    floors = [[0.0] * len(points) for points in stretches]
    areas, ends = [], []
    for place, (name, tone) in enumerate(parts):
        for floor, points in zip(floors, stretches):
            across = [x for x, _ in points]
            roof = [y + shares[place] for y, (_, shares) in zip(floor, points)]
            areas.append((tone, frame.path([*zip(across, roof), *zip(across[::-1], floor[::-1])])))
            if points is stretches[-1] and (last := points[-1][1][place]) >= 0.005:
                ends.append((frame.y((roof[-1] + floor[-1]) / 2), f"{name} {100 * last:.0f} %", tone))
            floor[:] = roof
    return draw("area_chart", frame, areas, ends, ticks_below, about)


def draw(name: str, *content: Any) -> Markup:
    """A chart of charts.html.jinja."""
    return Markup(getattr(templates().get_template("charts.html.jinja").module, name)(*content))


@dataclass
class Frame:
    """The axes all curve charts share: stage bands above, few gridlines, images seen (or `axis`) below.

    `typical` are pixels of width on a screen that is not a phone's.
    """

    bands: Sequence[Band]
    top: float
    bottom: float = 0
    height: int = 210
    typical: int = 320
    axis: str = "images"

    roof = 22  # pixels above the plot, for stage names

    def __post_init__(self) -> None:
        self.start = min((band.start for band in self.bands), default=0.0)
        self.end = max((band.end for band in self.bands), default=1.0)
        self.top = self.top if self.top > self.bottom else self.bottom + 1.0
        self.rows, self.columns = ticks(self.bottom, self.top, 3), ticks(self.start, self.end, 3)

    def x(self, value: float) -> float:
        return (value - self.start) / ((self.end - self.start) or 1.0)

    def y(self, value: float) -> float:
        return self.height * (1 - min(max((value - self.bottom) / (self.top - self.bottom), 0.0), 1.0))

    def path(self, points: Iterable[Point]) -> str:
        return "M" + "L".join(f"{1000 * self.x(x):.1f} {self.y(y):.1f}" for x, y in points)

    def paths(self, stretches: Iterable[Iterable[Point]]) -> str:
        return "".join(self.path(points) for points in stretches)

    def spread(self, ends: Sequence[tuple[float, str, str]], gap: float = 15) -> list[tuple[float, str, str]]:
        """Labels (y, text, tone) moved apart to at least `gap` pixels, keeping their order and staying on the chart."""
        placed: list[list] = [list(end) for end in sorted(ends)]
        for above, below in itertools.pairwise(placed):
            below[0] = max(below[0], above[0] + gap)
        if placed and placed[-1][0] > self.height:
            placed[-1][0] = self.height
            for below, above in zip(placed[::-1], placed[-2::-1]):
                above[0] = min(above[0], below[0] - gap)
        return [(y, text, tone) for y, text, tone in placed]


def ticks(low: float, high: float, steps: int) -> list[float]:
    """A few round numbers from `low` to `high`: about `steps` intervals of 1, 2, 2.5 or 5 times a power of ten."""
    if high <= low:
        return [low]
    raw = (high - low) / steps
    power = 10.0 ** math.floor(math.log10(raw))
    step = min((m * power for m in (1, 2, 2.5, 5, 10)), key=lambda s: abs(s - raw))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


def smooth(points: Sequence[Point], parts: int = 24) -> tuple[Point, ...]:
    """A moving average over about 1/`parts` of the points, half of them on either side."""
    reach = len(points) // (2 * parts)
    sums = list(itertools.accumulate((y for _, y in points), initial=0.0))
    averaged = []
    for place, (x, _) in enumerate(points):
        start, end = max(place - reach, 0), min(place + reach + 1, len(points))
        averaged.append((x, (sums[end] - sums[start]) / (end - start)))
    return tuple(averaged)


def thin(points: Sequence[Point], most: int = 400) -> tuple[Point, ...]:
    """Every n-th point so that about `most` remain, and always the last."""
    step = max(-(-len(points) // most), 1)
    return (*points[: len(points) - 1 : step], *points[-1:])
