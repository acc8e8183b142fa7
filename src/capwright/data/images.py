"""Images as people have them, turned into what a model expects: RGB, 8 bits a channel, upright."""

from __future__ import annotations

import math
import os
import stat
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from capwright.data.files import reason
from capwright.types import ImageError

#: More pixels than this is refused before anything is decoded: a small file can hold an image that fills the memory.
MAX_PIXELS = 89_478_485
#: Scans of the largest image; a smaller one may have more of them, but never ten times as many. Programs write 6 to 12.
MAX_SCANS = 20
#: A side more than this many times the other is refused: model families cannot cut such a strip into patches.
MAX_ASPECT = 200

#: Formats that are decoded by Pillow itself; those that start another program (EPS) or hold no image are left out.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "MPO", "PPM", "JPEG2000", "AVIF", "ICO", "TGA", "DIB")

#: EXIF orientation -> what makes the image upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112


def load_image(path: str | Path, max_pixels: int | None = None) -> Image.Image:
    """Read an image as an upright RGB image.

    EXIF orientation is applied; CMYK, gray, palette and 16-bit images become 8-bit RGB; what is transparent is laid
    over white; of an animation the first frame is taken. Gray of 16 bits is divided by 257 (65535 is white); 32-bit
    integers and floats, which have no agreed white, are stretched from their smallest to their largest value.

    Args:
        path: the file; its content decides the format, not its name.
        max_pixels: make the image smaller, keeping its shape, until width * height is at most this. An image that
            is small enough is never enlarged; a 1 x 1 image stays 1 x 1.

    Raises:
        ImageError: the message starts with the path and says why: missing, a folder, no permission, empty, not a
            image, cut off or corrupt, more than `MAX_PIXELS` pixels, one side more than `MAX_ASPECT` times the
            other, or a progressive JPEG of very many scans.
    """
    if max_pixels is not None and max_pixels < 1:
        raise ImageError(f"{path}: max_pixels is {max_pixels}; it must be at least 1")
    _must_be_a_file(path)
    try:
        with Image.open(path, formats=_formats()) as opened:
            _check_shape(path, opened.width, opened.height)
            _check_scans(path, opened)
            size = _reduced(opened.width, opened.height, max_pixels)
            if size != opened.size:
                opened.draft(None, size)  # JPEG only: decodes at a fraction of the size
            opened.load()
            image = _to_rgb(opened)
            orientation = _orientation(opened)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{path}: is not an image that can be read ({_known_as(path)}); save it as JPEG or PNG"
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{path}: has more than {MAX_PIXELS:,} pixels; make it smaller") from error
    except PermissionError as error:
        raise ImageError(f"{path}: cannot be read: {reason(error)}") from error
    except MemoryError as error:
        raise ImageError(f"{path}: does not fit into memory; make it smaller") from error
    except Exception as error:  # a decoder may raise anything on bytes that were not meant for it
        text = str(error) or type(error).__name__
        raise ImageError(f"{path}: is cut off or corrupt ({text}); replace the file or remove its row") from error
    size = _reduced(image.width, image.height, max_pixels)  # of what was decoded: a TIFF turns itself while loading
    if image.size != size:
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def image_size(path: str | Path) -> tuple[int, int]:
    """(width, height) of the upright image, from the header of the file alone. Raises ImageError as `load_image`."""
    _must_be_a_file(path)
    try:
        with Image.open(path, formats=_formats()) as opened:
            if opened.format == "TIFF":  # turns itself, but not in every version before it is loaded
                opened.load()
                return opened.size
            width, height = opened.size
            return (height, width) if _orientation(opened) >= 5 else (width, height)
    except Exception as error:  # a decoder may raise anything on bytes that were not meant for it
        raise ImageError(f"{path}: cannot be read as an image ({error}); replace the file") from error


def _formats() -> tuple[str, ...]:
    if not set(FORMATS) <= set(Image.OPEN):
        Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _must_be_a_file(path: str | Path) -> None:
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ImageError(f"{path}: does not exist; put the file there or correct the path") from error
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {reason(error)}") from error
    except ValueError as error:
        raise ImageError(f"{str(path)!r}: is not a file name ({error})") from error
    if stat.S_ISDIR(found.st_mode):
        raise ImageError(f"{path}: is a folder, not an image; name a file in it")
    if not stat.S_ISREG(found.st_mode):
        raise ImageError(f"{path}: is not a regular file")
    if found.st_size == 0:
        raise ImageError(f"{path}: is empty (0 bytes); copy the image again")


def _known_as(path: str | Path) -> str:
    with open(path, "rb") as handle:
        head = handle.read(16)
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"mif1", b"hevc"):
        return "a HEIC photo"
    if head.lstrip()[:4].lower() in (b"<svg", b"<?xm"):
        return "an SVG drawing"
    if head.lstrip()[:5].lower() in (b"<html", b"<!doc"):
        return "a web page, perhaps of a failed download"
    if head.startswith(b"%PDF"):
        return "a PDF"
    return "unknown format"


def _check_shape(path: str | Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError(f"{path}: has {width} x {height} pixels, more than {MAX_PIXELS:,}; make it smaller")
    if max(width, height) > MAX_ASPECT * max(1, min(width, height)):
        raise ImageError(
            f"{path}: is {width} x {height}, one side more than {MAX_ASPECT} times the other; crop it to its subject"
        )


def _check_scans(path: str | Path, image: Image.Image) -> None:
    """A progressive JPEG is drawn over and over, and each time may take a few bytes of the file only."""
    if not image.info.get("progressive"):
        return
    with open(path, "rb") as handle:
        scans = handle.read().count(b"\xff\xda")  # in no other place, but for a thumbnail's
    if scans * image.width * image.height > MAX_SCANS * MAX_PIXELS or scans > 10 * MAX_SCANS:
        raise ImageError(f"{path}: is drawn in {scans:,} scans, which takes too long; save it anew")


def _reduced(width: int, height: int, max_pixels: int | None) -> tuple[int, int]:
    """The largest size of the same shape with at most `max_pixels` pixels; never larger than given."""
    if max_pixels is None or width * height <= max_pixels:
        return width, height
    scale = math.sqrt(max_pixels / (width * height))
    short = max(1, math.floor(min(width, height) * scale))
    long = max(1, min(math.floor(max(width, height) * scale), MAX_ASPECT * short, max_pixels // short))
    return (long, short) if width >= height else (short, long)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 when there is none or when the EXIF block is broken (the pixels are still good)."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:
        return 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return _from_16_bit(np.asarray(image), image.info.get("transparency"))
    if image.mode in ("I", "F"):
        return _stretched(np.asarray(image, dtype=np.float64))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        paper = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(paper, layer).convert("RGB")
    return image.convert("RGB")


def _from_16_bit(values: np.ndarray, transparent: object) -> Image.Image:
    gray = ((values.astype(np.uint32) + 128) // 257).clip(0, 255).astype(np.uint8)
    if isinstance(transparent, int):
        gray = np.where(values == transparent, 255, gray).astype(np.uint8)
    return Image.fromarray(gray).convert("RGB")


def _stretched(values: np.ndarray) -> Image.Image:
    known = np.isfinite(values)
    low, high = (values[known].min(), values[known].max()) if known.any() else (0.0, 0.0)
    span = high - low if high > low else 1.0
    gray = np.where(known, (np.where(known, values, low) - low) / span * 255, 0)
    return Image.fromarray(gray.round().astype(np.uint8)).convert("RGB")
