"""The drawings: one SVG file each, in a folder for each kind ("areas", "postures", "toys").

A file is a 100 by 100 drawing of plain shapes. What differs from image to image stands in braces: `{main}`, `{dark}`
and `{light}` for a color and its two shades; postures also have those of a look (`looks.yaml`).
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

from capwright.types import CapwrightError

_BODY = re.compile(r"<svg[^>]*>(.*)</svg>", re.DOTALL)


def drawing_names(kind: str) -> tuple[str, ...]:
    """Names of all drawings of a kind, sorted."""
    files = (entry.name for entry in (resources.files("capwright.scenes") / kind).iterdir())
    return tuple(sorted(name[: -len(".svg")].replace("-", " ") for name in files if name.endswith(".svg")))


@cache
def svg_text(kind: str, name: str) -> str:
    """The text of a drawing, placeholders unfilled ("busy board" of the kind "toys" is toys/busy-board.svg).

    Raises CapwrightError for a name without a drawing.
    """
    file = f"{name.replace(' ', '-')}.svg"
    path = resources.files("capwright.scenes") / kind / file
    if not path.is_file():
        raise CapwrightError(f"there is no drawing of {name!r}: add scenes/{kind}/{file}")
    return path.read_text(encoding="utf-8")


@cache
def _body(kind: str, name: str) -> str:
    found = _BODY.search(svg_text(kind, name))
    if found is None:
        raise CapwrightError(f"the drawing of {name!r} in scenes/{kind} is not an <svg> document")
    return found.group(1).replace("\n", "")


def shapes(kind: str, name: str, **fills: str) -> str:
    """The shapes of a drawing as markup in a 100 by 100 box (no `<svg>` around it), with `fills` in the placeholders.

    Raises CapwrightError for a name without a drawing.
    """
    markup = _body(kind, name)
    for placeholder, fill in fills.items():
        markup = markup.replace(f"{{{placeholder}}}", fill)
    return markup
