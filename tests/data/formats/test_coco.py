from __future__ import annotations

import json
from pathlib import Path

import pytest

from capwright.data import check_dataset, load_image, open_dataset, read_coco
from capwright.types import DataError, Region, Term
from places import PHOTOS


def test_the_photos(photo_dataset: Path) -> None:
    dataset = open_dataset(photo_dataset)
    assert dataset.splits == {"train": 22, "val": 6, "test": 6}
    assert len(dataset.vocabulary) == 80
    assert dataset.vocabulary["bicycle"] == Term("bicycle", category="vehicle")
    assert dataset.vocabulary["person"].category == ""
    for sample in dataset:
        width, height = load_image(sample.image).size
        assert len(sample.references) == 5
        assert sample.meta["photo"].startswith("http")
        assert "creativecommons.org/licenses/by" in sample.meta["license"]
        assert all(
            0 <= r.box[0] < r.box[2] <= width + 1 and 0 <= r.box[1] < r.box[3] <= height + 1 for r in sample.regions
        )
        assert {region.label for region in sample.regions} <= {term.name for term in sample.terms}


def test_the_photos_are_a_clean_dataset(photo_dataset: Path) -> None:
    check = check_dataset(photo_dataset)
    assert (check.problems, check.samples, check.usable) == ((), 34, True)


def test_every_photo_is_credited() -> None:
    text = (PHOTOS / "ATTRIBUTION.md").read_text()
    document = json.loads((PHOTOS / "annotations.json").read_text())
    assert {path.name for path in PHOTOS.glob("*.jpg")} == {image["file_name"] for image in document["images"]}
    for image in document["images"]:
        line = next(line for line in text.splitlines() if image["file_name"] in line)
        assert image["flickr_url"] in line
        assert {4: "CC BY 2.0", 5: "CC BY-SA 2.0"}[image["license"]] in line


def official(tmp_path: Path) -> tuple[Path, Path]:
    """Captions and instances in two files, as COCO publishes them."""
    images = [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg", "split": "val2017"}]
    captions = tmp_path / "captions.json"
    captions.write_text(
        json.dumps({"images": images, "annotations": [{"image_id": 1, "id": 1, "caption": " A cat.\n"}]})
    )
    instances = tmp_path / "instances.json"
    notes = [
        {"image_id": 1, "id": 2, "category_id": 17, "bbox": [1, 2, 3, 4], "iscrowd": 0},
        {"image_id": 1, "id": 3, "category_id": 1, "bbox": [0, 0, 9, 9], "iscrowd": 1},
    ]
    categories = [
        {"id": 17, "name": "cat", "supercategory": "animal"},
        {"id": 1, "name": "person", "supercategory": "person"},
    ]
    instances.write_text(json.dumps({"images": images, "annotations": notes, "categories": categories}))
    return captions, instances


def test_official_files(tmp_path: Path) -> None:
    samples, vocabulary = read_coco(official(tmp_path), "images")
    first, second = samples
    assert (first.id, first.image, first.split, second.split) == ("1", Path("images/a.jpg"), "train", "val")
    assert first.references == ("A cat.",)
    assert [term.name for term in first.terms] == ["person", "cat"]
    assert first.regions == (Region((1, 2, 4, 6), "cat"),)
    assert list(vocabulary) == ["cat", "person"]
    assert {sample.split for sample in read_coco(official(tmp_path), "images", split="test")[0]} == {"test"}


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("{", "not valid JSON"),
        ([], "must be one object"),
        ({}, "has no images"),
        ({"images": {}}, "images must be a list"),
        ({"images": [{"id": 1}]}, "images[0] must be an object with id, file_name"),
        ({"images": [{"id": 1, "file_name": "a"}], "captions": [{"image_id": 2, "caption": "x"}]}, "such as 2"),
        ({"images": [{"id": 1, "file_name": "a"}], "captions": [{"image_id": 1, "caption": 5}]}, "must be text"),
        ({"images": [{"id": 1, "file_name": "a"}], "instances": [{"image_id": 1, "bbox": [1]}]}, "four numbers"),
        (
            {"images": [{"id": 1, "file_name": "a"}], "instances": [{"image_id": 1, "bbox": [1, 2, 3, 4]}]},
            "category_id",
        ),
        (
            {
                "images": [{"id": 1, "file_name": "a"}],
                "instances": [{"image_id": 1, "bbox": [1, 2, 3, 4], "category_id": 5}],
            },
            "category 5, which is not in categories",
        ),
    ],
)
def test_what_is_not_coco(tmp_path: Path, document: object, reason: str) -> None:
    path = tmp_path / "annotations.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    with pytest.raises(DataError) as caught:
        read_coco(path, tmp_path)
    assert str(caught.value).startswith(str(path))
    assert reason in str(caught.value)
