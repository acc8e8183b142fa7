"""COCO annotations (cocodataset.org) as samples, with the object categories as the vocabulary."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from capwright.data.disk import parse_json, reading
from capwright.types import DataError, Region, Sample, Term, Vocabulary

#: Lists of annotations that a file may hold; the official files call each of them "annotations".
_LISTS = ("annotations", "captions", "instances")


def read_coco(
    annotations: str | Path | Sequence[str | Path], images_dir: str | Path, split: str | None = None
) -> tuple[list[Sample], Vocabulary]:
    """Read COCO captions and instances; samples in the order of `images`, and their vocabulary.

    Captions become references, the categories that are boxed in an image its terms (by category id), boxes its regions
    (crowds are left out there), and the page of the photo and its license go to `meta`. A term's category is its
    supercategory. Unlike a dataset folder the files are read whole; write them as one with `write_dataset`.

    Args:
        annotations: one file, or several that belong together (captions_val2017.json and instances_val2017.json).
        images_dir: the folder of the pictures, named by `file_name`.
        split: put every sample there; by default the image's own "split" without its year ("val2017" is "val"), else
            "train".

    Raises:
        DataError: names the file and what in it is not COCO; or ids that no image has.
    """
    paths = [Path(annotations)] if isinstance(annotations, (str, Path)) else [Path(path) for path in annotations]
    images: dict[Any, dict[str, Any]] = {}
    categories: dict[Any, dict[str, Any]] = {}
    licenses: dict[Any, dict[str, Any]] = {}
    notes: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for path in paths:
        document = _read(path)
        for image in _records(document, "images", path, ("id", "file_name")):
            images[image["id"]] = image
        for category in _records(document, "categories", path, ("id", "name")):
            categories[category["id"]] = category
        for license in _records(document, "licenses", path, ("id",)):
            licenses[license["id"]] = license
        for name in _LISTS:
            for note in _records(document, name, path, ("image_id",)):
                _check_note(note, name, path)
                notes[note["image_id"]].append(note)
    if not images:
        raise DataError(f"{paths[0]}: has no images; it must be a COCO annotation file")
    strangers = [id for id in notes if id not in images]
    if strangers:
        raise DataError(f"{paths[0]}: {len(strangers)} annotated images are not in its images, such as {strangers[0]}")
    terms = _terms(categories)
    samples = []
    for id, image in images.items():
        boxed = [note for note in notes[id] if "bbox" in note]
        missing = [note["category_id"] for note in boxed if note["category_id"] not in terms]
        if missing:
            raise DataError(f"{paths[0]}: image {id} has boxes of category {missing[0]}, which is not in categories")
        samples.append(
            Sample(
                id=str(id),
                image=Path(images_dir) / str(image["file_name"]),
                references=tuple(note["caption"].strip() for note in notes[id] if "caption" in note),
                terms=tuple(terms[key] for key in sorted({note["category_id"] for note in boxed})),
                regions=tuple(_region(note, terms) for note in boxed if not note.get("iscrowd")),
                split=split or str(image.get("split", "train")).rstrip("0123456789") or "train",
                meta=_meta(image, licenses),
            )
        )
    return samples, Vocabulary({term.name: term for term in terms.values()})


def _read(path: Path) -> dict[str, Any]:
    with reading(path):
        data = path.read_bytes()
    try:
        document = parse_json(data.removeprefix(b"\xef\xbb\xbf"))
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    if not isinstance(document, dict):
        raise DataError(f"{path}: must be one object with images and annotations")
    return document


def _records(document: dict[str, Any], name: str, path: Path, needs: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    found = document.get(name, [])
    if not isinstance(found, list):
        raise DataError(f"{path}: {name} must be a list")
    for i, record in enumerate(found):
        if not isinstance(record, dict) or any(not isinstance(record.get(key), (int, str)) for key in needs):
            raise DataError(f"{path}: {name}[{i}] must be an object with {', '.join(needs)}")
        yield record


def _check_note(note: dict[str, Any], name: str, path: Path) -> None:
    where = f"{path}: {name} of image {note['image_id']}"
    if "caption" in note and not isinstance(note["caption"], str):
        raise DataError(f"{where}: the caption must be text")
    if "bbox" in note:
        box = note["bbox"]
        if not isinstance(box, list) or len(box) != 4 or not all(isinstance(n, (int, float)) for n in box):
            raise DataError(f"{where}: bbox must be four numbers: left, top, width, height")
        if not isinstance(note.get("category_id"), (int, str)):
            raise DataError(f"{where}: a box needs a category_id")


def _terms(categories: dict[Any, dict[str, Any]]) -> dict[Any, Term]:
    terms = {}
    for id, category in categories.items():
        name, above = str(category["name"]), str(category.get("supercategory") or "")
        terms[id] = Term(name, category="" if above == name else above)
    return terms


def _region(note: dict[str, Any], terms: dict[Any, Term]) -> Region:
    left, top, width, height = (float(n) for n in note["bbox"])
    return Region((left, top, left + width, top + height), terms[note["category_id"]].name)


def _meta(image: dict[str, Any], licenses: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    license = licenses.get(image.get("license"), {})
    meta = {"photo": image.get("flickr_url") or image.get("coco_url"), "license": license.get("url")}
    return {key: value for key, value in meta.items() if value}
