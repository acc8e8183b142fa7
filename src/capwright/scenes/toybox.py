"""The toy drawings: one SVG file per vocabulary term, tinted on request.

In a file of `toys/`, `{main}`, `{dark}` and `{light}` stand for the toy's color and its two shades; everything else
(wood, metal, strings) keeps its own color.
"""

from __future__ import annotations

import colorsys
import random

from capwright.scenes.svg_files import drawing_names, shapes
from capwright.text.tables import read_tables
from capwright.types import CapwrightError

_TABLES = read_tables("capwright.scenes", "toys.yaml")
#: Pairs of toys that a hasty look takes for one another.
LOOK_ALIKES: tuple[tuple[str, str], ...] = tuple((one, other) for one, other in _TABLES["look_alikes"])
#: The color of each color word, as drawn on toys and shirts.
INKS: dict[str, str] = _TABLES["inks"]


def toy_names() -> tuple[str, ...]:
    """Names of all toys that have a drawing, sorted."""
    return drawing_names("toys")


def shades(color: str, variant: str = "") -> tuple[str, str, str]:
    """`(main, dark, light)` as hex strings for a color word.

    A non-empty `variant` shifts hue and lightness a little, always the same way for the same text: no two toys of a
    big data set are quite alike, yet red stays red. Raises CapwrightError for an unknown color word.
    """
    if color not in INKS:
        raise CapwrightError(f"unknown color {color!r}: choose one of {', '.join(INKS)}")
    red, green, blue = (int(INKS[color][i : i + 2], 16) / 255 for i in (1, 3, 5))
    hue, lightness, saturation = colorsys.rgb_to_hls(red, green, blue)
    if variant:
        chance = random.Random(f"shade/{variant}")
        hue = (hue + chance.uniform(-0.012, 0.012)) % 1.0
        lightness += chance.uniform(-0.03, 0.03)
    shade = hue - 0.025 if 0.10 < hue < 0.18 else hue  # the shade of yellow leans to orange, not to olive
    return (
        _hex(hue, lightness, saturation),
        _hex(shade, lightness * 0.72, saturation * 0.95),
        _hex(hue, lightness + (1 - lightness) * 0.52, saturation),
    )


def _hex(hue: float, lightness: float, saturation: float) -> str:
    parts = colorsys.hls_to_rgb(hue, min(max(lightness, 0.0), 1.0), min(saturation, 1.0))
    return "#" + "".join(f"{round(255 * part):02x}" for part in parts)


def toy_shapes(name: str, color: str, variant: str = "") -> str:
    """The tinted shapes of one toy, as SVG markup in a 100 by 100 box (no `<svg>` around it).

    Raises CapwrightError for an unknown toy or color.
    """
    main, dark, light = shades(color, variant)
    return shapes("toys", name, main=main, dark=dark, light=light)
