"""Sheets for people's eyes: scenes with their captions, and all toys with their names."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from capwright.scenes.drawing import draw, rasterize
from capwright.scenes.toybox import toy_names, toy_shapes
from capwright.scenes.world import COLORS, Scene
from capwright.types import CapwrightError

_PAPER = "#ffffff"
_TEXT = "#33292f"
_SHELF = "#f4eee0"


def contact_sheet(scenes: Sequence[Scene], captions: Sequence[str], size: int = 160, columns: int = 4) -> Image.Image:
    """Images in rows, each `size` pixels wide with its caption wrapped beneath, as an RGB image.

    Raises CapwrightError if there are no scenes, if scenes and captions are not equally many, if `columns` is less
    than 1, or for a bad size.
    """
    if not scenes:
        raise CapwrightError("a contact sheet needs at least one scene")
    if len(scenes) != len(captions):
        raise CapwrightError(
            f"a contact sheet needs a caption per scene: {len(scenes)} scenes, {len(captions)} captions"
        )
    return _grid([draw(scene, size) for scene in scenes], captions, size, columns)


def toy_sheet(size: int = 96, columns: int = 9) -> Image.Image:
    """All toys of the toy box, sorted by name, each in a color of its own turn, with the name beneath (RGB)."""
    names = toy_names()
    images = []
    for number, name in enumerate(names):
        shapes = toy_shapes(name, COLORS[3 * number % len(COLORS)])
        images.append(
            rasterize(
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-3 -3 106 106">'
                f'<rect x="-3" y="-3" width="106" height="106" fill="{_SHELF}"/>{shapes}</svg>',
                size,
            )
        )
    return _grid(images, names, size, columns)


def _grid(images: Sequence[Image.Image], texts: Sequence[str], size: int, columns: int) -> Image.Image:
    if columns < 1:
        raise CapwrightError(f"columns is {columns!r}: choose 1 or more")
    columns = min(columns, len(images))
    gap = max(6, size // 14)
    height = max(9, min(16, size // 13))
    font = ImageFont.load_default(height)
    wrapped = [_wrap(text, font, size) for text in texts]
    rows = [range(start, min(start + columns, len(images))) for start in range(0, len(images), columns)]
    line = round(height * 1.3)
    heights = [size + gap // 2 + line * max(len(wrapped[i]) for i in row) for row in rows]
    sheet = Image.new("RGB", (columns * (size + gap) + gap, sum(heights) + gap * (len(rows) + 1)), _PAPER)
    pen = ImageDraw.Draw(sheet)
    top = gap
    for row, row_height in zip(rows, heights):
        for column, i in enumerate(row):
            left = gap + column * (size + gap)
            sheet.paste(images[i], (left, top))
            for number, text in enumerate(wrapped[i]):
                pen.text((left, top + size + gap // 2 + number * line), text, fill=_TEXT, font=font)
        top += row_height + gap
    return sheet


def _wrap(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    """Break a text into lines that fit; a single word wider than `width` keeps a line of its own."""
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines or [""]
