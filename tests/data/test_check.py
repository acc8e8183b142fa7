from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance

from capwright.data import Check, check_dataset, load_image, open_dataset, write_dataset
from capwright.data.near_duplicates import MAX_BITS, MAX_DIFFERENCE, difference, image_hash, near_pairs, small_copy
from capwright.data.text_checks import LONGEST, troubles
from capwright.types import DataError, Sample
from places import PHOTOS


def lines(check: Check) -> list[str]:
    return [str(problem) for problem in check.problems]


def good(i: int, **more: object) -> dict[str, object]:
    return {"id": str(i), "image": f"images/{i}.png", "references": ["A geoboard."], "terms": ["geoboard"], **more}


def test_a_good_dataset(folder: Callable[..., Path]) -> None:
    done: list[tuple[int, int]] = []
    check = check_dataset(folder([good(1), good(2, split="val")]), progress=lambda *step: done.append(step))
    assert (check.problems, check.samples, check.usable) == ((), 2, True)
    assert done == [(1, 2), (2, 2)]


def test_every_problem_at_once_with_file_and_line(folder: Callable[..., Path], tmp_path: Path) -> None:
    rows = [
        good(1),
        "{broken",
        good(1, image="images/other.png"),
        good(4, references=["", "A\rboard"]),
        good(5, terms=["geobord", "geoboard", "geoboard"]),
        good(6, refrences=["x"]),
        good(7, image="gone.png"),
        good(8),
        good(9, image="../outside.png"),
        good(10, questions=[{"text": "?", "options": ["a"], "answer": "b"}], regions=[{"box": [5, 5, 5, 9]}]),
        good(11, regions=[{"box": [0, 0, 900, 9]}]),
        {"id": "12"},
        good(13, split="val"),
    ]
    root = folder(rows)
    (root / "images/8.png").write_bytes(b"nothing")
    shutil.copy(root / "images/1.png", tmp_path / "outside.png")
    check = check_dataset(root)
    assert not check.usable
    assert check.samples == 11
    want = [
        (2, "error", "not valid JSON"),
        (3, "error", "the id was used on line 1"),
        (4, "error", "references[0] is empty"),
        (4, "error", "references[1] holds a carriage return (U+000D) at character 2"),
        (5, "error", 'the term "geobord" is not in vocabulary.yaml (did you mean "geoboard"?)'),
        (5, "warning", 'the term "geoboard" is given 2 times'),
        (6, "warning", 'unknown key "refrences" is ignored (did you mean "references"?)'),
        (7, "error", "gone.png: does not exist"),
        (8, "error", "8.png: is not an image"),
        (9, "error", 'the image "../outside.png" is outside the dataset folder'),
        (10, "error", 'the answer "b" is not one of its options'),
        (10, "error", "regions[0].box has no area"),
        (11, "warning", "a region reaches to (900, 9), but the image is 64 x 48"),
        (12, "error", "image is missing"),
    ]
    assert len(check.problems) == len(want), lines(check)
    for problem, (line, severity, text) in zip(check.problems, want):
        assert (problem.file, problem.line, problem.severity) == ("samples.jsonl", line, severity)
        assert text in problem.message
    assert lines(check)[0].startswith("samples.jsonl:2: error: ")
    assert lines(check_dataset(root)) == lines(check)


def test_each_of_several_images_is_looked_at(folder: Callable[..., Path], tmp_path: Path) -> None:
    root = folder([good(1), good(2), good(3, split="val")])
    rows = [
        {"id": "1", "images": ["images/1.png", "gone.png", "../outside.png"]},
        {"id": "2", "images": ["images/2.png", "images/2.png"], "regions": [{"box": [0, 0, 64, 48]}]},
        {"id": "3", "images": ["images/3.png", "images/1.png"], "split": "val"},
    ]
    (root / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    shutil.copy(root / "images/2.png", tmp_path / "outside.png")
    check = check_dataset(root)
    assert check.samples == 3
    want = [
        (1, "error", 'the image "../outside.png" is outside the dataset folder'),
        (1, "error", "gone.png: does not exist"),
        (2, "warning", "2.png: is given 2 times in one sample"),
        (3, "error", 'the same image is in the split "train" (samples.jsonl:1)'),
    ]
    assert len(check.problems) == len(want), lines(check)
    for problem, (line, severity, text) in zip(check.problems, want):
        assert (problem.line, problem.severity) == (line, severity)
        assert text in problem.message


def test_a_broken_image_is_reported_for_every_row_that_names_it(folder: Callable[..., Path]) -> None:
    root = folder(
        [good(1), good(2), good(3, image="images/2.png"), good(4, image="images/../images/2.png", split="val")]
    )
    (root / "images/2.png").write_bytes(b"nothing")
    found = [problem.line for problem in check_dataset(root).problems if "not an image" in problem.message]
    assert found == [2, 3, 4]


def test_what_check_calls_unusable_can_not_be_opened(folder: Callable[..., Path]) -> None:
    """Errors in the annotations are the same for `open_dataset`, so a dataset that passes the check opens."""
    for row in ("{", {"id": "1"}, good(1, terms=["nothing"]), good(1, meta=3), good(1, regions=[{"box": 1}])):
        root = folder([good(0), row])
        assert not check_dataset(root).usable
        with pytest.raises(DataError):
            open_dataset(root)


def test_vocabulary_problems(folder: Callable[..., Path]) -> None:
    vocabulary = "geoboard: {aliases: [board]}\nboard: {lvel: vague}\nx: {level: expert}\n"
    both = [good(1), good(2, split="val")]
    check = check_dataset(folder(both, vocabulary))
    assert lines(check) == [
        'vocabulary.yaml: warning: "board" stands for "geoboard" and "board"; '
        "a caption that says it cannot be told apart",
        'vocabulary.yaml:2: error: unknown key "lvel" of "board" (did you mean "level"?); '
        "known are aliases, category, plurals, level, tier",
        'vocabulary.yaml:3: error: level "expert" of "x" is not one of professional, generic, vague',
    ]
    assert lines(check_dataset(folder(both, "geoboard: [")))[0].startswith("vocabulary.yaml:")
    root = folder(both)
    (root / "vocabulary.yaml").write_bytes(b"geoboard:\ncaf\xe9:\n")
    assert lines(check_dataset(root)) == ["vocabulary.yaml:2: error: byte 0xe9 is not UTF-8; save the file as UTF-8"]
    (root / "vocabulary.yaml").unlink()
    assert [p.severity for p in check_dataset(root).problems] == ["error"]
    check = check_dataset(folder([good(1, terms=[]), good(2, terms=[], split="val")], None))
    assert ([p.severity for p in check.problems], check.usable) == (["warning"], True)


def test_whole_file_problems(folder: Callable[..., Path], tmp_path: Path) -> None:
    assert "does not exist" in lines(check_dataset(tmp_path / "none"))[0]
    assert "neither" in lines(check_dataset(tmp_path))[0]
    assert "no samples" in lines(check_dataset(folder([])))[0]
    for there, missing in (("val", "train"), ("train", "val")):
        check = check_dataset(folder([good(1, split=there)]))
        (problem,) = check.problems
        assert f'there is no split "{missing}" (there are: "{there}")' in problem.message
        assert (problem.severity, check.usable) == ("warning", True)
    root = folder([good(1)])
    (root / "samples.jsonl").unlink()
    (root / "samples.jsonl").mkdir()
    assert lines(check_dataset(root)) == ["samples.jsonl: error: cannot be read: is a directory"]


def test_ecac_problems_point_into_the_right_file(folder: Callable[..., Path], tmp_path: Path) -> None:
    root = write_dataset(open_dataset(folder([good(1), good(2, split="val")])), tmp_path / "e", layout="ecac")
    assert check_dataset(root).problems == ()
    (root / "toy_labels.json").write_text('{"1": ["geoboard"],\n"2": ["geobord"],\n"3": []}')
    (root / "captions.json").write_text(
        '{"1": {"image": "images/1.png", "caption": ["x"]},\n"2": {"image": "images/gone.png", "captions": [""]}}'
    )
    (root / "splits/val.json").write_text("[]")
    assert [(p.file, p.line, p.severity) for p in check_dataset(root).problems] == [
        ("captions.json", None, "warning"),
        ("captions.json", 1, "warning"),
        ("captions.json", 2, "error"),
        ("captions.json", 2, "error"),
        ("splits", None, "warning"),
        ("toy_labels.json", 2, "error"),
        ("toy_labels.json", 3, "error"),
    ]
    assert 'did you mean "captions"?' in check_dataset(root).problems[1].message
    (root / "captions.json").write_text('{"1": {"image": "images/1.png"},\n!')
    assert lines(check_dataset(root))[-1].startswith("captions.json:2: error: not valid JSON")


@pytest.mark.parametrize(
    ("text", "severity", "code"),
    [
        (" \n", "error", "empty"),
        ("a\x00b", "error", "U+0000"),
        ("a\rb", "error", "U+000D"),
        ("a\x0bb", "error", "U+000B"),
        ("a\x85b", "error", "U+0085"),
        ("a\u2028b", "error", "U+2028"),
        ("a\u2029b", "error", "U+2029"),
        ("a\x7fb", "error", "U+007F"),
        ("a\u200bb", "warning", "U+200B"),
        ("\ufeffa", "warning", "U+FEFF"),
        ("a\u202eb", "warning", "U+202E"),
        ("caf\ufffd", "warning", "U+FFFD"),
        ("a" * (LONGEST + 1), "warning", "4,001"),
    ],
)
def test_wording(text: str, severity: str, code: str) -> None:
    found = troubles(text)
    assert [each[0] for each in found] == [severity]
    assert code in found[0][1]


def test_wording_of_good_text() -> None:
    for text in (
        "Plain.",
        "Two\nlines\tand tab",
        "می\u200cخواهم",
        "👨\u200d👩\u200d👧",
        "积木",
        "no\u00a0break — “quotes”",
    ):
        assert troubles(text) == []
    assert len(troubles("\r \r \x00 \x00")) == 2


def saved(image: Image.Image, side: int, quality: int) -> Image.Image:
    """The image made smaller and compressed."""
    image = image.copy()
    image.thumbnail((side, side))
    data = io.BytesIO()
    image.save(data, "JPEG", quality=quality)
    return Image.open(io.BytesIO(data.getvalue())).convert("RGB")


def bits(first: Image.Image, second: Image.Image) -> int:
    return int(np.unpackbits(image_hash(first) ^ image_hash(second)).sum())


def same(first: Image.Image, second: Image.Image) -> bool:
    return bits(first, second) <= MAX_BITS and difference(small_copy(first), small_copy(second)) <= MAX_DIFFERENCE


def room(seed: int) -> Image.Image:
    """A drawing on a background that all share: wall, floor, window and shelf, and two toys of its own."""
    image = Image.new("RGB", (96, 96), (245, 238, 225))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 52, 96, 96), fill=(225, 205, 175))
    draw.rectangle((8, 8, 34, 34), fill=(190, 220, 240), outline=(120, 90, 60))
    draw.rectangle((56, 14, 90, 40), fill=(200, 160, 110), outline=(120, 90, 60))
    random = np.random.default_rng(seed)
    for left in (8, 54):
        color = tuple(random.integers(0, 220, 3).tolist())
        width, height = random.integers(18, 36, 2).tolist()
        x, y = left + int(random.integers(0, 6)), 58 + int(random.integers(0, 6))
        shape = draw.rectangle if random.random() < 0.5 else draw.ellipse
        shape((x, y, x + width, y + height), fill=color, outline=(20, 20, 20))
    return image


def test_a_photo_stored_again_is_recognized() -> None:
    for path in sorted(PHOTOS.glob("*.jpg")):
        photo = load_image(path)
        assert same(photo, saved(photo, 256, 50))
        assert same(photo, saved(photo, 160, 85))
        assert same(photo, ImageEnhance.Brightness(photo).enhance(1.05))


def test_different_photos_and_drawings_are_not_taken_for_the_same() -> None:
    photos = [load_image(path) for path in sorted(PHOTOS.glob("*.jpg"))]
    drawings = [room(seed) for seed in range(60)]
    for images in (photos, drawings):
        pairs = [(a, b) for i, a in enumerate(images) for b in images[:i]]
        assert not [pair for pair in pairs if same(*pair)]
    assert all(same(drawing, saved(drawing, 96, 90)) for drawing in drawings)


def test_a_toy_of_another_color_is_another_image() -> None:
    first = room(3)
    second = first.copy()
    pixels = np.asarray(second).copy()
    toy = pixels[60, 20].tolist()
    where = (pixels == toy).all(2)
    assert where.sum() > 200
    pixels[where] = [255 - toy[0], toy[1], 255 - toy[2]]
    assert not same(first, Image.fromarray(pixels))


def test_neighbors_are_found_by_bands() -> None:
    """Against comparing all: every pair within MAX_BITS of different rank is found, closest first."""
    random = np.random.default_rng(0)
    hashes = random.integers(0, 256, (120, 32), dtype=np.uint8)
    for copy in range(60, 120):  # near copies of the first half, 0 to 20 bits away
        flips = np.zeros(256, dtype=np.uint8)
        flips[random.choice(256, copy - 60 if copy < 81 else 3, replace=False)] = 1
        hashes[copy] = hashes[copy - 60] ^ np.packbits(flips)
    ranks = np.array([0] * 60 + [1] * 60)
    far = np.unpackbits(hashes[:, None] ^ hashes[None], axis=2).sum(2)
    want = {i: [j for j in range(60) if far[i, j] <= MAX_BITS] for i in range(60, 120)}
    assert dict(near_pairs(hashes, ranks)) == {i: found for i, found in want.items() if found}
    assert list(near_pairs(hashes, ranks * 0)) == []


def test_splits_that_share_an_image(tmp_path: Path, painter: Callable[..., Path]) -> None:
    photo = load_image(next(PHOTOS.glob("*.jpg")))
    (tmp_path / "images").mkdir()
    photo.save(tmp_path / "images/a.png")
    shutil.copy(tmp_path / "images/a.png", tmp_path / "images/copy.png")
    saved(photo, 200, 80).save(tmp_path / "images/small.png")
    for seed in range(4):
        painter(tmp_path / f"images/{seed}.png", seed)
    rows = [
        ("a", "train"),
        ("0", "train"),
        ("1", "train"),
        ("2", "train"),
        ("copy", "val"),
        ("0", "val"),
        ("small", "test"),
    ]
    rows += [("3", "test"), ("1", "train")]
    (tmp_path / "samples.jsonl").write_text(
        "".join(
            json.dumps({"id": str(i), "image": f"images/{n}.png", "split": s}) + "\n" for i, (n, s) in enumerate(rows)
        )
    )
    (tmp_path / "vocabulary.yaml").write_text("geoboard:\n")
    found = [(p.line, p.severity, p.message.split(" is in")[0]) for p in check_dataset(tmp_path).problems]
    assert found == [
        (5, "error", "the same image"),
        (6, "error", "the same image"),
        (7, "warning", "nearly the same image"),
    ]
    message = check_dataset(tmp_path).problems[0].message
    assert message == (
        'the same image is in the split "train" (samples.jsonl:1), so "val" does not test anything new; '
        "keep it in one split"
    )


def test_tiny_and_extreme_images(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1)).save(tmp_path / "one.png")
    Image.new("RGB", (2010, 10)).save(tmp_path / "strip.png")
    root = write_dataset(
        [Sample("1", tmp_path / "one.png"), Sample("2", tmp_path / "strip.png", split="val")], tmp_path / "out"
    )
    check = check_dataset(root)
    assert [(p.line, p.severity) for p in check.problems] == [(1, "warning"), (2, "error")]
    assert "only 1 x 1 pixels" in check.problems[0].message
    assert "crop it" in check.problems[1].message
