"""Images as people have them."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from capwright.data import load_image
from capwright.data.images import MAX_PIXELS, image_size
from capwright.types import DataError, ImageError


def pixel(image: Image.Image, x: int = 0, y: int = 0) -> tuple[int, ...]:
    return image.getpixel((x, y))  # type: ignore[return-value]


def half_and_half(size: tuple[int, int] = (40, 20)) -> Image.Image:
    """Left half red, right half blue."""
    image = Image.new("RGB", size, "red")
    image.paste("blue", (size[0] // 2, 0, *size))
    return image


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tiff", "gif", "ppm"])
def test_common_formats_give_rgb(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    half_and_half().save(path)
    image = load_image(path)
    assert (image.mode, image.size) == ("RGB", (40, 20))
    assert pixel(image, 2, 2)[0] > 240 > 40 > pixel(image, 2, 2)[2]


def test_the_content_decides_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "really-a-png.jpg"
    half_and_half().save(path, format="PNG")
    assert load_image(str(path)).size == (40, 20)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_every_exif_orientation_is_made_upright(tmp_path: Path, orientation: int, kind: str) -> None:
    upright = half_and_half((40, 20))
    upright.paste("white", (0, 0, 8, 8))  # a mark in the top left corner
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = upright if undo is None else upright.transpose(undo)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned"
    options = {"lossless": True} if kind == "WEBP" else {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    stored.save(path, format=kind, exif=exif, **options)
    image = load_image(path)
    assert image.size == upright.size == image_size(path)
    assert np.abs(np.asarray(image, int) - np.asarray(upright, int)).mean() < 4


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_does_not_lose_the_image(tmp_path: Path) -> None:
    half_and_half().save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xffgarbage")
    assert load_image(tmp_path / "a.jpg").size == (40, 20)


@pytest.mark.parametrize("ink", [(0, 0, 0, 0), (0, 255, 255, 0)])
def test_cmyk(tmp_path: Path, ink: tuple[int, ...]) -> None:
    for suffix in ("jpg", "tiff"):
        path = tmp_path / f"a.{suffix}"
        Image.new("CMYK", (8, 8), ink).save(path)
        want = (255, 255, 255) if not any(ink) else (255, 0, 0)
        assert np.abs(np.subtract(pixel(load_image(path)), want)).max() < 12


def test_16_bit_gray_keeps_its_tones(tmp_path: Path) -> None:
    values = np.array([[0, 257, 32896, 65535]], dtype=np.uint16).repeat(4, 0)
    for suffix in ("png", "tiff"):
        Image.fromarray(values).save(tmp_path / f"a.{suffix}")
        image = load_image(tmp_path / f"a.{suffix}")
        assert image.mode == "RGB"
        assert [pixel(image, x) for x in range(4)] == [(n, n, n) for n in (0, 1, 128, 255)]


def test_16_bit_big_endian_and_floats(tmp_path: Path) -> None:
    Image.frombytes("I;16B", (2, 1), b"\x00\x00\xff\xff").save(tmp_path / "big.tiff")
    assert pixel(load_image(tmp_path / "big.tiff"), 1) == (255, 255, 255)
    Image.fromarray(np.array([[-2.0, 0.0, 2.0, np.nan]], dtype=np.float32)).save(tmp_path / "float.tiff")
    image = load_image(tmp_path / "float.tiff")
    assert [pixel(image, x)[0] for x in range(4)] == [0, 128, 255, 0]
    Image.fromarray(np.full((2, 2), 7, dtype=np.int32)).save(tmp_path / "flat.tiff")
    assert pixel(load_image(tmp_path / "flat.tiff")) == (0, 0, 0)


def test_what_is_transparent_lies_over_white(tmp_path: Path) -> None:
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putpixel((0, 0), 0)
    palette.save(tmp_path / "p.png", transparency=1)
    palette.save(tmp_path / "p.gif", transparency=1)
    for name in ("p.png", "p.gif"):
        image = load_image(tmp_path / name)
        assert (pixel(image), pixel(image, 3, 3)) == ((255, 0, 0), (255, 255, 255))
    for mode, color, want in (
        ("RGBA", (0, 0, 0, 0), 255),
        ("RGBA", (0, 0, 0, 128), 127),
        ("LA", (0, 0), 255),
        ("LA", (9, 255), 9),
    ):
        Image.new(mode, (3, 3), color).save(tmp_path / "a.png")
        assert pixel(load_image(tmp_path / "a.png")) == (want,) * 3
    Image.new("RGB", (3, 3), (1, 2, 3)).save(tmp_path / "key.png", transparency=(1, 2, 3))
    assert pixel(load_image(tmp_path / "key.png")) == (255, 255, 255)


def test_black_and_white(tmp_path: Path) -> None:
    Image.new("1", (3, 3), 1).save(tmp_path / "a.png")
    assert pixel(load_image(tmp_path / "a.png")) == (255, 255, 255)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp"])
def test_first_frame_of_an_animation(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (16, 16), color) for color in ("red", "green", "blue")]
    path = tmp_path / f"a.{suffix}"
    frames[0].save(
        path, save_all=True, append_images=frames[1:], duration=50, **({"lossless": True} if suffix == "webp" else {})
    )
    assert pixel(load_image(path)) == (255, 0, 0)


def test_one_pixel_stays_one_pixel(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), "red").save(tmp_path / "a.png")
    assert load_image(tmp_path / "a.png", max_pixels=100).size == (1, 1)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_20000_pixels_wide(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"wide.{suffix}"
    Image.new("L", (20000, 120), 200).save(path)
    assert load_image(path).size == (20000, 120)
    small = load_image(path, max_pixels=50_000)
    assert small.width * small.height <= 50_000
    assert small.width / small.height == pytest.approx(20000 / 120, rel=0.05)


def test_max_pixels_keeps_shape_and_never_makes_strips(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    half_and_half((400, 200)).save(tmp_path / "a.jpg", exif=exif)
    assert load_image(tmp_path / "a.jpg", max_pixels=5000).size == (50, 100)
    Image.new("L", (4000, 21)).save(tmp_path / "strip.png")
    for limit in (1, 7, 300, 5000):
        width, height = load_image(tmp_path / "strip.png", max_pixels=limit).size
        assert width * height <= limit
        assert width <= 200 * height
    with pytest.raises(ImageError, match="at least 1"):
        load_image(tmp_path / "a.jpg", max_pixels=0)


@pytest.mark.parametrize(("size", "good"), [((200, 1), True), ((201, 1), False), ((1, 201), False), ((1, 200), True)])
def test_extreme_shapes(tmp_path: Path, size: tuple[int, int], good: bool) -> None:
    Image.new("RGB", size).save(tmp_path / "a.png")
    if good:
        assert load_image(tmp_path / "a.png").size == size
    else:
        with pytest.raises(ImageError, match="crop it"):
            load_image(tmp_path / "a.png")


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    for side in (9500, 14000):
        assert side * side > MAX_PIXELS
        Image.new("1", (side, side)).save(tmp_path / "a.png")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with pytest.raises(ImageError, match="make it smaller"):
                load_image(tmp_path / "a.png")


def broken(tmp_path: Path) -> dict[str, tuple[Path, str]]:
    """name -> (path, a word of the reason)."""
    photo = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for suffix in ("png", "jpg", "webp", "gif", "tiff", "bmp"):
        good = tmp_path / f"good.{suffix}"
        Image.fromarray(photo).save(good)
        (tmp_path / f"cut.{suffix}").write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    data = bytearray((tmp_path / "good.png").read_bytes())
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "flipped.png").write_bytes(bytes(data))
    (tmp_path / "zero.jpg").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("not an image")
    (tmp_path / "page.jpg").write_text("<!DOCTYPE html><html>404</html>")
    (tmp_path / "drawing.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    (tmp_path / "program.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    cut = {f"cut.{suffix}": "corrupt" for suffix in ("png", "jpg", "webp", "gif", "tiff", "bmp")}
    reasons = cut | {
        "flipped.png": "corrupt",
        "zero.jpg": "empty",
        "text.jpg": "not an image",
        "page.jpg": "a web page",
        "drawing.svg": "an SVG drawing",
        "photo.heic": "a HEIC photo",
        "program.eps": "not an image",
        "folder.png": "a folder",
        "pipe.png": "not a regular file",
        "missing.png": "does not exist",
        "good.png/inside.png": "does not exist",
    }
    return {name: (tmp_path / name, reason) for name, reason in reasons.items()}


def test_what_can_not_be_read_says_where_and_why(tmp_path: Path) -> None:
    for path, reason in broken(tmp_path).values():
        with pytest.raises(ImageError) as caught:
            load_image(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert reason in str(caught.value)
        assert isinstance(caught.value, DataError)


def test_strange_names_and_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImageError, match="not a file name"):
        load_image("a\0b.png")
    with pytest.raises(ImageError, match="cannot be read"):
        load_image(tmp_path / ("x" * 300))
    half_and_half().save(tmp_path / "a.png")

    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied", "a.png")

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(ImageError, match="no permission"):
        load_image(tmp_path / "a.png")


def test_every_cut_of_a_photo_is_noticed(tmp_path: Path) -> None:
    photo = np.random.default_rng(1).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    Image.fromarray(photo).save(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    for length in range(1, len(data) - 40, 23):
        (tmp_path / "cut.jpg").write_bytes(data[:length])
        with pytest.raises(ImageError):
            load_image(tmp_path / "cut.jpg", max_pixels=100)


def scans(times: int, side: int = 64) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    file = io.BytesIO()
    Image.effect_noise((side, side), 50).convert("RGB").save(file, "JPEG", progressive=True)
    data = file.getvalue()
    return data[:-2] + data[data.rfind(b"\xff\xda") : -2] * times + data[-2:]


def test_a_jpeg_that_is_drawn_over_and_over_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    path = tmp_path / "p.jpg"
    path.write_bytes(scans(0))
    assert load_image(path).size == (64, 64)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("was decoded"))
    path.write_bytes(scans(200))
    with pytest.raises(ImageError, match=r"p\.jpg: is drawn in 2\d\d scans, which takes too long; save it anew"):
        load_image(path)
    monkeypatch.setattr("capwright.data.images.MAX_PIXELS", 64 * 64)
    path.write_bytes(scans(15))
    with pytest.raises(ImageError, match="scans"):
        load_image(path)


def test_a_line_feed_in_a_path_does_not_split_the_message(tmp_path):
    with pytest.raises(ImageError) as found:
        load_image(tmp_path / "a\nerror: b.png")
    assert len(str(found.value).splitlines()) == 1
    assert "a\\nerror: b.png: does not exist" in str(found.value)
