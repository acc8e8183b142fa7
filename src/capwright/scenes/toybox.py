"""The toy drawings: one SVG file per vocabulary term, tinted on request.

A file in `toys/` is a 100 by 100 drawing of plain shapes. Three placeholders, `{main}`, `{dark}` and `{light}`, stand
for the toy's color and its two shades; everything else (wood, metal, strings) keeps its own color.
"""

from __future__ import annotations

import colorsys
import random
import re
from functools import cache
from importlib import resources

from capwright.types import CapwrightError

#: Pairs of toys that a hasty look takes for one another. Their drawings differ by a feature, never by color alone.
LOOK_ALIKES: tuple[tuple[str, str], ...] = (
    ("geoboard", "pegboard"),
    ("lacing board", "busy board"),
    ("tangram", "pattern blocks"),
    ("knob puzzle", "floor puzzle"),
    ("unit blocks", "counting rods"),
    ("unit blocks", "magnetic tiles"),
    ("stacking rings", "ring toss"),
    ("nesting cups", "nesting dolls"),
    ("shape sorter", "coin box"),
    ("bead maze", "abacus"),
    ("number balance", "bucket balance"),
    ("xylophone", "glockenspiel"),
    ("tambourine", "hand drum"),
    ("maracas", "egg shakers"),
    ("balance bike", "tricycle"),
    ("balance bike", "kick scooter"),
    ("rocking horse", "hobby horse"),
    ("playground ball", "hopper ball"),
    ("hand puppet", "rag doll"),
)

#: The color of each color word, as drawn on toys and shirts.
INKS: dict[str, str] = {
    "red": "#e03a3a",
    "orange": "#f6891f",
    "yellow": "#f8d12f",
    "green": "#43ad50",
    "blue": "#3b7ddd",
    "purple": "#8f4fc7",
    "pink": "#f487ba",
    "brown": "#8d5a34",
}

_BODY = re.compile(r"<svg[^>]*>(.*)</svg>", re.DOTALL)


def slug(name: str) -> str:
    """The file name of a toy, without its ending: `"busy board"` -> `"busy-board"`."""
    return name.replace(" ", "-")


def toy_names() -> tuple[str, ...]:
    """Names of all toys that have a drawing, sorted."""
    folder = resources.files("capwright.scenes") / "toys"
    files = (entry.name for entry in folder.iterdir())
    return tuple(sorted(name[: -len(".svg")].replace("-", " ") for name in files if name.endswith(".svg")))


@cache
def toy_file(name: str) -> str:
    """The SVG text of a toy, placeholders unfilled.

    Raises CapwrightError for a name without a drawing.
    """
    path = resources.files("capwright.scenes") / "toys" / f"{slug(name)}.svg"
    if not path.is_file():
        raise CapwrightError(f"there is no drawing of {name!r}: add scenes/toys/{slug(name)}.svg")
    return path.read_text(encoding="utf-8")


@cache
def _body(name: str) -> str:
    found = _BODY.search(toy_file(name))
    if found is None:
        raise CapwrightError(f"scenes/toys/{slug(name)}.svg: not an <svg> document")
    return found.group(1).replace("\n", "")


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
    return _body(name).replace("{main}", main).replace("{dark}", dark).replace("{light}", light)
