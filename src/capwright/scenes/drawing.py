"""From a scene to an image: compose one SVG document, then rasterize it."""

from __future__ import annotations

import io
import random
from functools import cache

import resvg_py
from PIL import Image

from capwright.scenes.svg_files import shapes
from capwright.scenes.toybox import shades, toy_shapes
from capwright.scenes.world import ACTIVITIES, AREAS, Child, PlacedToy, Scene
from capwright.text.tables import read_tables
from capwright.types import CapwrightError

#: Image sizes that `draw` accepts, in pixels a side.
SMALLEST, LARGEST = 16, 4096

#: For each count, every copy as (x, y, scale): its center relative to the spot, in units of the spot's height.
_ARRANGEMENTS: dict[int, tuple[tuple[float, float, float], ...]] = {
    1: ((0.0, 0.0, 1.0),),
    2: ((-0.37, -0.04, 0.88), (0.37, 0.05, 0.88)),
    3: ((-0.70, -0.05, 0.84), (0.70, -0.05, 0.84), (0.0, 0.07, 0.84)),
}


def area_shapes(area: str) -> str:
    """The background of an area as SVG markup in a 100 by 100 box: light, quiet, and told by what is at its back wall.

    Wall or sky ends near y = 52; children stand in the middle, toys on the floor in front. Raises CapwrightError for an
    unknown area.
    """
    known = [name for names in AREAS.values() for name in names]
    if area not in known:
        raise CapwrightError(f"unknown area {area!r}: choose one of {', '.join(known)}")
    return shapes("areas", area)


@cache
def looks() -> tuple[dict[str, str], ...]:
    """Skin, hair and trousers of children; `back` and `front` are hair shapes around a head of radius 17 at (0, 0)."""
    return tuple(read_tables("capwright.scenes", "looks.yaml"))


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


def svg(scene: Scene) -> str:
    """The scene as an SVG document with viewBox 0 0 100 100: area, then children, then toys, each from back to front.

    The same scene gives the same text. `seed` and `index` settle what the facts leave open: the background's and each
    figure's left-right flip and a small shift of shade. Raises CapwrightError for a name, color, area, activity, look
    or count that has no drawing.
    """
    key = f"{scene.seed}/{scene.index}"
    parts = [_flipped(area_shapes(scene.area), f"{key}/area")]
    children = sorted(enumerate(scene.children), key=lambda pair: pair[1].y)
    parts += [_child(child, f"{key}/child/{number}") for number, child in children]
    toys = sorted(enumerate(scene.toys), key=lambda pair: pair[1].y)
    parts += [_toy(toy, f"{key}/toy/{number}") for number, toy in toys]
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">{"".join(parts)}</svg>'


def draw(scene: Scene, size: int = 96) -> Image.Image:
    """The scene as an RGB image of `size` by `size` pixels. Same scene and size, same pixels.

    Raises CapwrightError where `svg` does, and for a size that is not a whole number from 16 to 4096.
    """
    return rasterize(svg(scene), size)


def rasterize(document: str, size: int) -> Image.Image:
    """An SVG document (with a viewBox, no width and height) as an RGB image of `size` by `size` pixels.

    White shows where the document is transparent.

    Raises CapwrightError for a bad size or a document that the rasterizer refuses. The document must be well-formed:
    resvg-py 0.1 ends the process on one that is not.
    """
    if isinstance(size, bool) or not isinstance(size, int) or not SMALLEST <= size <= LARGEST:
        raise CapwrightError(f"size is {size!r}: choose a whole number of pixels from {SMALLEST} to {LARGEST}")
    # The size goes into the document: some resvg-py releases do not enlarge by their own width and height.
    sized = document.replace("<svg ", f'<svg width="{size}" height="{size}" ', 1)
    try:
        png = resvg_py.svg_to_bytes(svg_string=sized, background="#ffffff", skip_system_fonts=True)
    except ValueError as error:
        raise CapwrightError(f"cannot rasterize a drawing: {error}") from error
    with Image.open(io.BytesIO(bytes(png))) as image:
        return image.convert("RGB")


def _place(markup: str, x: float, y: float, size: float, flip: bool) -> str:
    """Put a 100 by 100 drawing with its center at (x, y) of the unit square, `size` high, mirrored if `flip`."""
    half = 50 * size
    left = 100 * x + half if flip else 100 * x - half
    across = -size if flip else size
    return f'<g transform="translate({left:.2f} {100 * y - half:.2f}) scale({across:.4f} {size:.4f})">{markup}</g>'


def _flipped(markup: str, key: str) -> str:
    if random.Random(f"flip/{key}").random() < 0.5:
        return markup
    return f'<g transform="translate(100 0) scale(-1 1)">{markup}</g>'


def _child(child: Child, key: str) -> str:
    flip = random.Random(f"flip/{key}").random() < 0.5
    if child.x < 0.34:  # near an edge, arms and faces turn to the middle of the image
        flip = False
    elif child.x > 0.66:
        flip = True
    return _place(child_shapes(child.activity, child.shirt, child.look, key), child.x, child.y, child.size, flip)


def _toy(toy: PlacedToy, key: str) -> str:
    if toy.count not in _ARRANGEMENTS:
        raise CapwrightError(f"{toy.name}: count is {toy.count!r}, but only 1 to {max(_ARRANGEMENTS)} can be drawn")
    flip = random.Random(f"flip/{key}").random() < 0.5
    drawn = toy_shapes(toy.name, toy.color, key)
    copies = _ARRANGEMENTS[toy.count]
    reach = max(dx + scale / 2 for dx, _, scale in copies) * toy.size
    center = min(max(toy.x, reach), 1 - reach) if reach < 0.5 else 0.5  # a group stays in the image
    parts = []
    for dx, dy, scale in copies:
        x, y, size = center + dx * toy.size, toy.y + dy * toy.size, toy.size * scale
        parts.append(
            f'<ellipse cx="{100 * x:.2f}" cy="{100 * (y + 0.45 * size):.2f}" rx="{50 * size:.2f}" '
            f'ry="{10 * size:.2f}" fill="#3a2a20" fill-opacity=".16"/>'
        )
        parts.append(_place(drawn, x, y, size, flip))
    return "".join(parts)
