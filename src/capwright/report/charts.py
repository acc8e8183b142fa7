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

from markupsafe import Markup, escape

from capwright.evaluation.results import Estimate

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


def interval_bar(measure: Estimate, tone: str, low: float = 0, high: float = 100, zero: float | None = None) -> Markup:
    """A dot with its interval on a thin scale from `low` to `high`; `zero` draws a reference line. Decorative:
    the numbers stand beside it."""
    if measure.value is None:
        return Markup("")

    def at(value: float | None) -> str:
        return percent(((value or 0.0) - low) / ((high - low) or 1.0))

    parts = ['<line class="scale" x1="0" x2="100%" y1="8" y2="8"/>']
    if zero is not None:
        parts.append(f'<line class="zero" x1="{at(zero)}" x2="{at(zero)}" y1="0" y2="16"/>')
    if measure.has_interval:
        parts.append(f'<line class="span" x1="{at(measure.low)}" x2="{at(measure.high)}" y1="8" y2="8"/>')
    parts.append(f'<circle cx="{at(measure.value)}" cy="8" r="4"/>')
    return Markup(f'<svg class="interval {tone}" width="100%" height="16" aria-hidden="true">{"".join(parts)}</svg>')


def value_bar(measure: Estimate, tone: str) -> Markup:
    """A bar from 0 to the value (0 to 100) with a whisker for the interval, and the number at its end."""
    if measure.value is None:
        text = '<text class="muted" x="0" dx="2" y="13">unknown</text>'
        return Markup(f'<svg class="bar {tone}" width="100%" height="18" role="img" aria-label="unknown">{text}</svg>')
    end = max(measure.value, measure.high or 0.0)
    place = f'x="{percent(end / 100)}" dx="8"'
    said = str(whole(measure.value))
    whisker = ""
    if measure.has_interval:
        said += f", interval {whole(measure.low or 0)} to {whole(measure.high or 0)}"
        low, high = percent((measure.low or 0) / 100), percent((measure.high or 0) / 100)
        whisker = f'<line class="whisker" x1="{low}" x2="{high}" y1="9" y2="9"/>'
    width = percent(max(measure.value, 0.0) / 100)
    return Markup(
        f'<svg class="bar {tone}" width="100%" height="18" role="img" aria-label="{said}">'
        f'<line class="base" x1="0" x2="0" y1="0" y2="18"/>'
        f'<rect class="fill" x="0" y="4" width="{width}" height="10" rx="1.5"/>{whisker}'
        f'<text {place} y="13.5">{whole(measure.value)}</text></svg>'
    )


def squares(value: float | None, tone: str) -> Markup:
    """A hundred little squares, as many filled as `value` says (0 to 100, rounded)."""
    if value is None:
        return Markup('<p class="muted">unknown</p>')
    filled = min(100, max(0, whole(value)))
    cells = [
        "".join(f"M{x * 10} {y * 10}h8v8h-8z" for x, y in _cells(part)) for part in (range(filled), range(filled, 100))
    ]
    return Markup(
        f'<svg class="squares {tone}" viewBox="0 0 498 18" role="img" aria-label="{filled} of 100 squares filled">'
        f'<path class="on" d="{cells[0]}"/><path class="off" d="{cells[1]}"/></svg>'
    )


def line_chart(
    series: Sequence[Series], bands: Sequence[Band], about: str, top: float, bottom: float = 0, height: int = 210
) -> Markup:
    """Lines over images seen, labeled at their ends; the y axis runs from `bottom` to `top`.

    `about` is what a person who cannot see it should know.
    """
    frame = Frame(bands, top, height, bottom)
    curves = [f'<path class="raw {line.tone}" d="{frame.paths(line.raw)}"/>' for line in series if line.raw]
    marks: list[str] = []
    for line in series:
        dash = " dashed" if line.dashed else ""
        curves.append(f'<path class="line{dash} {line.tone}" d="{frame.paths(line.stretches)}"/>')
        if line.dots:
            spots = [(percent(frame.x(x)), frame.roof + frame.y(y)) for points in line.stretches for x, y in points]
            marks += [f'<circle class="dot {line.tone}" cx="{x}" cy="{y:.1f}" r="3"/>' for x, y in spots]
    ends = [(frame.y(line.stretches[-1][-1][1]), line.label, line.tone) for line in series]
    labels = frame.labels(ends)
    return frame.draw("".join(curves), "".join(marks + labels), about)


def area_chart(
    parts: Sequence[tuple[str, str, Sequence[Sequence[Point]]]],
    bands: Sequence[Band],
    ticks_below: Sequence[float],
    about: str,
    height: int = 210,
) -> Markup:
    """Shares of a whole over images seen, stacked from the bottom in the order given.

    `parts` are (label, tone, runs); a run is a stretch without a gap, its points (x, share between 0 and 1). Every
    part has the same x in the same run. `ticks_below` are x positions marked under the chart.
    """
    frame = Frame(bands, 1.0, height, typical=560)
    runs = len(parts[0][2]) if parts else 0
    floors = [[0.0] * len(parts[0][2][run]) for run in range(runs)]
    shapes, ends = [], []
    for name, tone, stretches in parts:
        for run, points in enumerate(stretches):
            roof = [floor + share for floor, (_, share) in zip(floors[run], points)]
            outline = [(x, y) for (x, _), y in zip(points, roof)]
            back = [(x, y) for (x, _), y in zip(points, floors[run])][::-1]
            shapes.append(f'<path class="area {tone}" d="{frame.path([*outline, *back])}Z"/>')
            if run == runs - 1 and points and points[-1][1] >= 0.005:
                middle = (roof[-1] + floors[run][-1]) / 2
                ends.append((frame.y(middle), f"{name} {100 * points[-1][1]:.0f} %", tone))
            floors[run] = roof
    labels = frame.labels(ends)
    base = frame.roof + height
    rug = [
        f'<line class="rug" x1="{percent(frame.x(x))}" x2="{percent(frame.x(x))}" y1="{base + 3}" y2="{base + 11}"/>'
        for x in ticks_below
    ]
    return frame.draw("".join(shapes), "".join(rug + labels), about, "%", 12 if ticks_below else 0)


class Frame:
    """The axes all curve charts share: stage bands above, few gridlines, images seen (or `axis`) below."""

    roof = 22  # pixels above the plot, for stage names

    def __init__(
        self,
        bands: Sequence[Band],
        top: float,
        height: int,
        bottom: float = 0,
        typical: int = 320,
        axis: str = "images",
    ) -> None:
        self.axis = axis
        self.typical = typical  # pixels of width on a screen that is not a phone's
        self.bands = bands
        self.start = min((band.start for band in bands), default=0.0)
        self.end = max((band.end for band in bands), default=1.0)
        self.bottom, self.top = bottom, top if top > bottom else bottom + 1.0
        self.height = height

    def x(self, value: float) -> float:
        return (value - self.start) / ((self.end - self.start) or 1.0)

    def y(self, value: float) -> float:
        return self.height * (1 - min(max((value - self.bottom) / (self.top - self.bottom), 0.0), 1.0))

    def path(self, points: Iterable[Point]) -> str:
        return "M" + "L".join(f"{1000 * self.x(x):.1f} {self.y(y):.1f}" for x, y in points)

    def paths(self, stretches: Iterable[Iterable[Point]]) -> str:
        return "".join(self.path(points) for points in stretches)

    def labels(self, ends: Sequence[tuple[float, str, str]]) -> list[str]:
        """Names at the right edge, (y, text, tone) each, moved apart where they would overlap."""
        return [
            f'<text class="end {tone}" x="100%" dx="9" y="{y + self.roof + 4:.1f}">{escape(text)}</text>'
            for y, text, tone in _spread(ends, 15, self.height)
        ]

    def draw(self, curves: str, marks: str, about: str, unit: str = "", drop: int = 0) -> Markup:
        roof, base = self.roof, self.roof + self.height
        scale = 100 if unit == "%" else 1
        back, text = [], []
        for place, band in enumerate(self.bands):
            left, width = self.x(band.start), self.x(band.end) - self.x(band.start)
            shade, size = "band odd" if place % 2 else "band", f'width="{percent(width)}" height="{self.height}"'
            back.append(f'<rect class="{shade}" x="{percent(left)}" y="{roof}" {size}/>')
            if place:
                back.append(f'<line class="edge" x1="{percent(left)}" x2="{percent(left)}" y1="4" y2="{base}"/>')
            room = width / (7.5 * len(band.label) + 12)  # how much of a pixel of text fits a pixel of the chart
            if room * self.typical >= 1:
                kind = "stage" if room * 230 >= 1 else "stage roomy"
                text.append(f'<text class="{kind}" x="{percent(left)}" dx="6" y="14">{escape(band.label)}</text>')
        for tick in ticks(self.bottom, self.top, 3):
            y = roof + self.y(tick)
            back.append(f'<line class="grid" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>')
            sign = f" {unit}" if unit and tick == self.top else ""
            side = f'x="0" dx="-8" y="{y + 4:.1f}" text-anchor="end"'
            text.append(f'<text class="tick" {side}>{tick * scale:g}{sign}</text>')
        below = base + drop + 18
        for tick in ticks(self.start, self.end, 3):
            across = self.x(tick)
            anchor = "start" if across < 0.04 else "end" if across > 0.96 else "middle"
            side = f'x="{percent(across)}" y="{below}" text-anchor="{anchor}"'
            text.append(f'<text class="tick" {side}>{tick:,.0f}</text>')
        text.append(f'<text class="axis" x="100%" dx="9" y="{below}">{self.axis}</text>')
        return Markup(
            f'<svg class="chart" width="100%" height="{below + 8}" role="img" aria-label="{escape(about)}">'
            f'{"".join(back)}<svg x="0" y="{roof}" width="100%" height="{self.height}" '
            f'viewBox="0 0 1000 {self.height}" preserveAspectRatio="none">{curves}</svg>'
            f"{marks}{''.join(text)}</svg>"
        )


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


def whole(value: float) -> int:
    """To the nearest whole number, halves up (not to even, which would make 10.5 and 11.5 look a step of 2 apart)."""
    return math.floor(value + 0.5)


def _cells(places: Iterable[int]) -> Iterable[tuple[int, int]]:
    return ((place // 2, place % 2) for place in places)


def _spread(ends: Sequence[tuple[float, str, str]], gap: float, height: float) -> list[tuple[float, str, str]]:
    """Move labels apart to at least `gap` pixels, keeping their order and staying on the chart."""
    placed: list[list] = [list(end) for end in sorted(ends)]
    for above, below in itertools.pairwise(placed):
        below[0] = max(below[0], above[0] + gap)
    if placed and placed[-1][0] > height:
        placed[-1][0] = height
        for below, above in zip(placed[::-1], placed[-2::-1]):
            above[0] = min(above[0], below[0] - gap)
    return [(y, text, tone) for y, text, tone in placed]


def percent(share: float) -> str:
    """A share from 0 to 1 as SVG writes it; what lies outside stands at the edge."""
    return f"{100 * min(max(share, 0.0), 1.0):.2f}%"
