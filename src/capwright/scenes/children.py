"""Children of the kindergarten: six postures, six looks, and a shirt in the color the captions name."""

from __future__ import annotations

from functools import cache
from importlib import resources

import yaml

from capwright.scenes.svg_files import shapes
from capwright.scenes.toybox import shades
from capwright.scenes.world import ACTIVITIES
from capwright.types import CapwrightError


@cache
def looks() -> tuple[dict[str, str], ...]:
    """Skin, hair and trousers of children; `back` and `front` are hair shapes around a head of radius 17 at (0, 0)."""
    text = resources.files("capwright.scenes").joinpath("looks.yaml").read_text(encoding="utf-8")
    return tuple(yaml.safe_load(text))


def child_shapes(activity: str, shirt: str, look: int, variant: str = "") -> str:
    """A child as SVG markup in a 100 by 100 box, feet near the bottom.

    `variant` shifts the shirt's shade a little (see `toybox.shades`). Raises CapwrightError for an unknown activity,
    shirt color or look.
    """
    if activity not in ACTIVITIES:
        raise CapwrightError(f"unknown activity {activity!r}: choose one of {', '.join(ACTIVITIES)}")
    if not 0 <= look < len(looks()):
        raise CapwrightError(f"unknown look {look!r}: looks go from 0 to {len(looks()) - 1}")
    main, dark, _ = shades(shirt, variant)
    return shapes("postures", activity, main=main, dark=dark, **looks()[look])
