from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from capwright.data import open_dataset
from capwright.scenes import build, draw, facts, sample_scene, scene_id, split_of, to_sample, vocabulary
from capwright.types import CapwrightError, DataError


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_sample_holds_everything_known_about_a_scene():
    scene = next(s for s in (sample_scene(0, i) for i in range(99)) if len(s.toys) == 3)
    sample = to_sample(scene, "some/where.png", size=200)
    assert sample.id == scene_id(scene.index)
    assert sample.image == Path("some/where.png")
    assert len(sample.references) == 2
    assert [term.name for term in sample.terms] == [toy.name for toy in scene.toys]
    assert all(term == vocabulary()[term.name] and term.tier for term in sample.terms)
    assert len(sample.meta["casual"]) == 4
    assert (sample.meta["category"], sample.meta["area"]) == (scene.category, scene.area)
    assert [fact["sentence"] for fact in sample.meta["facts"]] == [fact.sentence for fact in facts(scene)]
    assert json.loads(json.dumps(sample.meta)) == sample.meta
    assert sample_scene(sample.meta["seed"], sample.meta["index"]) == scene
    for region, toy in zip(sample.regions, scene.toys):
        left, top, right, bottom = region.box
        assert region.label == toy.name
        assert toy.color in region.caption
        assert 0 <= left < 200 * toy.x < right <= 200
        assert 0 <= top < 200 * toy.y < bottom <= 200


def test_splits_never_move():
    splits = Counter(split_of(index) for index in range(1000))
    assert splits == {"train": 800, "val": 100, "test": 100}
    assert Counter(split_of(index) for index in range(20_000)) == {"train": 19_000, "val": 500, "test": 500}
    assert [split_of(index) for index in (0, 4, 9, 4999, 5004, 5009)] == [
        "train",
        "val",
        "test",
        "test",
        "train",
        "train",
    ]


def test_processes_and_runs_write_the_same_bytes(tmp_path):
    one = build(20, 3, tmp_path / "one", size=48)
    two = build(20, 3, tmp_path / "two", size=48, processes=2)
    assert contents(one) == contents(two)
    other = build(20, 4, tmp_path / "other", size=48)
    assert contents(one).keys() == contents(other).keys()
    assert contents(one) != contents(other)


def test_a_longer_dataset_begins_with_the_shorter_one(tmp_path):
    short = list(open_dataset(build(6, 0, tmp_path / "short", size=32)))
    longer = list(open_dataset(build(11, 0, tmp_path / "longer", size=32)))[:6]
    assert [replace(sample, image=Path()) for sample in short] == [replace(sample, image=Path()) for sample in longer]


@pytest.mark.parametrize("layout", ["jsonl", "ecac"])
def test_what_is_built_is_read_back(tmp_path, layout):
    calls = []
    out = build(12, 1, tmp_path / "a" / "b", layout=layout, size=64, progress=lambda *call: calls.append(call))
    assert calls == [(i, 12) for i in range(1, 13)]
    dataset = open_dataset(out)
    assert dataset.layout == layout
    assert dict(dataset.vocabulary) == dict(vocabulary())
    assert dict(dataset.splits) == {"train": 10, "val": 1, "test": 1}
    for index in range(12):
        sample = dataset.by_id(scene_id(index))
        assert sample == to_sample(sample_scene(1, index), sample.image, 64)
        with Image.open(sample.image) as image:
            assert image.convert("RGB").tobytes() == draw(sample_scene(1, index), 64).tobytes()


def test_a_folder_in_use_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"not empty; remove it or choose another folder"):
        build(1, 0, tmp_path)
    with pytest.raises(DataError, match=r"notes\.txt"):
        build(1, 0, tmp_path / "notes.txt")
    assert contents(tmp_path) == {"notes.txt": b"mine"}


def test_bad_requests_are_explained_and_leave_nothing(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(DataError, match="0 scenes"):
        build(0, 0, out)
    with pytest.raises(DataError, match="0 processes"):
        build(1, 0, out, processes=0)
    with pytest.raises(DataError, match="layout"):
        build(1, 0, out, layout="csv")
    with pytest.raises(CapwrightError, match="size"):
        build(1, 0, out, size=1)
    with pytest.raises(CapwrightError, match="size"):
        build(3, 0, out, size=1, processes=2)
    assert not out.exists()


def test_an_empty_folder_may_be_used(tmp_path):
    assert build(1, 0, tmp_path, size=32) == tmp_path
    assert len(open_dataset(tmp_path)) == 1
