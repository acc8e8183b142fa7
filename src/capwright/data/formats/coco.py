"""COCO annotations (cocodataset.org) as samples, with the object categories as the vocabulary."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from capwright.data.files import BOM, open_packed, parse_json, reading
from capwright.types import NO_IMAGE, DataError, Region, Sample, Term, Vocabulary

#: Lists of annotations that a file may hold; the official files call each of them "annotations".
_LISTS = ("annotations", "captions", "instances")


def read_coco(
    annotations: str | Path | Sequence[str | Path], images_dir: str | Path, split: str | None = None
) -> tuple[list[Sample], Vocabulary]:
    """Read COCO captions and instances; samples in the order of `images`, and their vocabulary.

    Captions become references, but for those that are marked as rejected or precanned (VizWiz-Captions), which are
    counted in a warning; the categories that are boxed in an image its terms (by category id), boxes its regions
    (crowds are left out there), and the page of the photo and its license go to `meta`. A term's category is its
    supercategory. Unlike a dataset folder the files are read whole; write them as one with `write_dataset`.

    Args:
        annotations: one file, or several that belong together (captions_val2017.json and instances_val2017.json).
        images_dir: the folder of the images, named by `file_name`.
        split: put every sample there; by default the image's own "split" without its year ("val2017" is "val"), else
            "train".

    Raises:
        DataError: names the file and what in it is not COCO; or ids that no image has.
    """
    paths = [Path(annotations)] if isinstance(annotations, (str, Path)) else [Path(path) for path in annotations]
    return coco_samples([(str(path), _read(path)) for path in paths], Path(images_dir), split)


def coco_samples(
    documents: Sequence[tuple[str, dict[str, Any]]], images_dir: Path | None, split: str | None = None
) -> tuple[list[Sample], Vocabulary]:
    """`read_coco` of documents that are parsed already, each with its name for messages.

    Without `images_dir` only the text is read: samples have `NO_IMAGE`, the name of their image is
    `meta["file_name"]` where it is known, and `images` may be missing (the order is then that of the annotations).
    """
    first = documents[0][0]
    needs = ("id",) if images_dir is None else ("id", "file_name")
    images: dict[str, dict[str, Any]] = {}
    categories: dict[Any, dict[str, Any]] = {}
    licenses: dict[Any, dict[str, Any]] = {}
    notes: dict[str, list[dict[str, Any]]] = defaultdict(list)
    unwanted: set[str] = set()  # images with rejected annotations
    for name, document in documents:
        own: dict[str, Any] = {}
        for image in _records(document, "images", name, needs):
            id = str(image["id"])
            if own.setdefault(id, image["id"]) != image["id"]:
                raise DataError(f'{name}: images: the id "{id}" is there twice, as a number and as text; keep one')
            images[id] = image
        for category in _records(document, "categories", name, ("id", "name")):
            categories[category["id"]] = category
        for license in _records(document, "licenses", name, ("id",)):
            licenses[license["id"]] = license
        for key in _LISTS:
            rejected = 0
            for note in _records(document, key, name, ("image_id",)):
                _check_note(note, key, name)
                if note.get("is_rejected") or note.get("is_precanned"):
                    rejected += 1
                    unwanted.add(str(note["image_id"]))
                else:
                    notes[str(note["image_id"])].append(note)
            if rejected:
                warnings.warn(
                    f"{name}: {rejected:,} {key} are marked as rejected or precanned and are left out", stacklevel=2
                )
    if images_dir is None and not any("images" in document for _, document in documents):
        images = {id: {"id": id} for id in dict.fromkeys([*notes, *sorted(unwanted)])}
    if not images:
        raise DataError(f"{first}: has no images; it must be a COCO annotation file")
    strangers = [id for id in notes if id not in images]
    if strangers:
        raise DataError(f"{first}: {len(strangers)} annotated images are not in its images, such as {strangers[0]}")
    terms = _terms(categories)
    samples = []
    for id, image in images.items():
        boxed = [note for note in notes[id] if "bbox" in note]
        missing = [note["category_id"] for note in boxed if note["category_id"] not in terms]
        if missing:
            raise DataError(f"{first}: image {id} has boxes of category {missing[0]}, which is not in categories")
        samples.append(
            Sample(
                id=id,
                image=NO_IMAGE if images_dir is None else images_dir / str(image["file_name"]),
                references=tuple(note["caption"].strip() for note in notes[id] if "caption" in note),
                terms=tuple(terms[key] for key in sorted({note["category_id"] for note in boxed})),
                regions=tuple(_region(note, terms) for note in boxed if not note.get("iscrowd")),
                split=split or split_name(image),
                meta=_meta(image, licenses, keep_name=images_dir is None),
            )
        )
    return samples, Vocabulary({term.name: term for term in terms.values()})


def split_name(image: Mapping[str, Any]) -> str:
    """The split that an image record names, without its year ("val2017" is "val"); "train" when it names none."""
    return str(image.get("split", "train")).rstrip("0123456789") or "train"


def _read(path: Path) -> dict[str, Any]:
    with open_packed(path) as handle, reading(path):
        data = handle.read()
    try:
        document = parse_json(data.removeprefix(BOM))
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    if not isinstance(document, dict):
        raise DataError(f"{path}: must be one object with images and annotations")
    return document


def _records(document: dict[str, Any], name: str, path: str, needs: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    found = document.get(name, [])
    if not isinstance(found, list):
        raise DataError(f"{path}: {name} must be a list")
    for i, record in enumerate(found):
        if not isinstance(record, dict) or any(not isinstance(record.get(key), (int, str)) for key in needs):
            raise DataError(f"{path}: {name}[{i}] must be an object with {', '.join(needs)}")
        yield record


def _check_note(note: dict[str, Any], name: str, path: str) -> None:
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


def _meta(image: dict[str, Any], licenses: dict[Any, dict[str, Any]], keep_name: bool) -> dict[str, Any]:
    license = licenses.get(image.get("license"), {})
    meta = {"photo": image.get("flickr_url") or image.get("coco_url"), "license": license.get("url")}
    if keep_name:
        meta["file_name"] = image.get("file_name")
    return {key: value for key, value in meta.items() if value}
