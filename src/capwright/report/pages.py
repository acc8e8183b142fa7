"""How pages are made: a template with its style and images inside, no script, nothing from elsewhere.

The same content gives the same bytes. What is shown comes from models and from files of strangers: all of it is
escaped, and characters that steer the text around them are written out by their code point.
"""

from __future__ import annotations

import math
import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from capwright.console import count
from capwright.types import DataError

#: Characters that a browser obeys or drops instead of showing them: controls, stray carriage returns, Unicode line
#: ends, overrides of the writing direction, halves of surrogate pairs.
_STEERING = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]|\r(?!\n)"
)


def render_page(template: str, **content: Any) -> str:
    """The page as text; a value that the template asks for and `content` lacks is an error."""
    return visible(templates().get_template(template).render(**content))


@cache
def templates() -> Environment:
    """The templates of all pages and charts."""
    environment = Environment(
        loader=PackageLoader("capwright.report", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"grouped": "{:,}".format, "one_decimal": one_decimal, "percent": percent, "whole": whole}
    environment.filters["images"] = lambda n: count(n, "image")
    return environment


def one_decimal(value: float | None) -> str:
    """ "14.2", "unknown"."""
    return "unknown" if value is None else f"{value:,.1f}"


def percent(share: float) -> str:
    """A share from 0 to 1 as SVG writes it; what lies outside stands at the edge."""
    return f"{100 * min(max(share, 0.0), 1.0):.2f}%"


def whole(value: float) -> int:
    """To the nearest whole number, halves up (not to even, which would make 10.5 and 11.5 look a step of 2 apart)."""
    return math.floor(value + 0.5)


def write_page(path: Path, page: str) -> Path:
    """Write the page, making its folder. Raises DataError when that cannot be done."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, "utf-8", errors="replace", newline="\n")
    except OSError as error:
        raise DataError(f"{path}: the report cannot be written ({error.strerror or error})") from error
    return path


def visible(text: str) -> str:
    """The text with characters that steer it replaced by their code points.

    >>> visible("dog\u202egod")
    'dog[U+202E]god'
    """
    return _STEERING.sub(lambda found: f"[U+{ord(found[0]):04X}]", text)
