"""Images in messages: as they are where servers know the format, otherwise as PNG; and their part of keys."""

from __future__ import annotations

import base64
import hashlib
import io
from pathlib import Path

from PIL import Image

from capwright.data.images import load_image
from capwright.types import ImageError

_ORIENTATION = 0x0112
_KNOWN = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}


def data_url(path: Path, max_pixels: int | None = None) -> str:
    """An image for a message: its bytes in base64.

    PNG, JPEG, GIF and WebP that stand upright and have at most `max_pixels` go out as they are; everything else is
    turned upright, scaled and written as PNG first.

    Raises:
        ImageError: there is no such file, or it is no image.
    """
    image = load_image(path, max_pixels)
    data = _read(path)
    kind = next((kind for start, kind in _KNOWN.items() if data.startswith(start)), "")
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        kind = "image/webp"
    if not kind or not _as_it_is(data, image.size):
        out = io.BytesIO()
        image.save(out, "PNG")
        data, kind = out.getvalue(), "image/png"
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _as_it_is(data: bytes, size: tuple[int, int]) -> bool:
    """Whether a file shows the same without being turned or scaled."""
    with Image.open(io.BytesIO(data)) as image:
        return image.size == size and image.getexif().get(_ORIENTATION, 1) == 1


class Fingerprints:
    """sha256 of files, each read once as long as its size and time do not change."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[tuple[int, int], str]] = {}

    def of(self, path: Path) -> str:
        """Hexadecimal. Raises ImageError when the file cannot be read."""
        try:
            state = path.stat()
        except OSError as error:
            raise ImageError(f"{path}: cannot be read: {error.strerror}") from None
        stamp = (state.st_size, state.st_mtime_ns)
        known = self._known.get(path)
        if known is None or known[0] != stamp:
            known = (stamp, hashlib.sha256(_read(path)).hexdigest())
            self._known[path] = known
        return known[1]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror}") from None
