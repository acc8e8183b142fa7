"""Ids that differ in form only: file names, COCO's padded numbers, numbers that a spreadsheet made decimal.

An id is never changed in silence. When not one caption has the id of a sample, the forms here are tried; one is used
only if it brings most captions to a sample and mixes up no two of them, and it is said loudly.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from capwright.data.dataset import ids_of
from capwright.types import NO_IMAGE, Sample

T = TypeVar("T")

_COCO = re.compile(r"(?:.*/)?(?:COCO_(?:train|val|test)\d{4}_)?(\d{12})(?:\.(?:jpe?g|png))?", re.IGNORECASE)
_ENDING = re.compile(r"\.(?:jpe?g|png|webp|gif|bmp|tiff?)$", re.IGNORECASE)
_DECIMAL = re.compile(r"(\d+)\.0")


def match_ids(predictions: Mapping[str, T], samples: Sequence[Sample]) -> tuple[dict[str, T], str]:
    """Captions under the ids of the samples, and what was done: '' when some ids match as they stand, or none can.

    Three forms are known: the name of the image of a sample, with or without folder and ending
    ("kitchen/0007.jpg" for the sample whose image is 0007.jpg); COCO file names ("COCO_val2014_000000391895" for
    "391895"); decimals ("391895.0" for "391895"). A form is used when no id matches as it stands, no two captions
    become one, and at least half of the smaller side finds its partner.

    Returns:
        `predictions`, renamed where a form fits; and one sentence that names the form with an example, else ''.
    """
    ids = set(ids_of(samples))
    if not predictions or not ids.isdisjoint(predictions):
        return dict(predictions), ""
    for name, to_id in (
        ("the file name of the image", _by_file_name(samples)),
        ("the number in a COCO file name", _by_form(_COCO, ids)),
        ("the whole number of a decimal", _by_form(_DECIMAL, ids)),
    ):
        renamed = {id: to_id(id) for id in predictions}
        if "" in renamed.values() or len(set(renamed.values())) < len(renamed):
            continue
        matched = len(ids.intersection(renamed.values()))
        if matched and matched * 2 >= min(len(ids), len(renamed)):
            example = next(id for id in renamed if renamed[id] in ids)
            said = f'{name} ("{example}" is the caption of "{renamed[example]}")'
            return {renamed[id]: row for id, row in predictions.items()}, said
    return dict(predictions), ""


def _by_file_name(samples: Sequence[Sample]) -> Callable[[str], str]:
    """The id of the sample whose image has that name; the text itself for none, '' for more than one."""
    found: dict[str, str] = {}
    for sample in samples:
        file = sample.meta.get("file_name") if sample.image == NO_IMAGE else sample.image.name
        if isinstance(file, str) and file:
            name = _bare(file)
            found[name] = sample.id if found.get(name, sample.id) == sample.id else ""
    ids = set(ids_of(samples))
    return lambda id: found.get(_bare(id), _bare(id) if _bare(id) in ids else id)


def _bare(file: str) -> str:
    """A file name without its folder and its ending."""
    return _ENDING.sub("", file.rpartition("/")[2])


def _by_form(form: re.Pattern[str], ids: Iterable[str]) -> Callable[[str], str]:
    """The id of the sample that has the same number; a number by itself where no sample has it; '' for other texts."""

    def number(id: str) -> str:
        fits = form.fullmatch(id)
        return str(int(fits[1])) if fits else id if id.isdecimal() and id.isascii() else ""

    found: dict[str, str] = {}
    for id in ids:
        plain = number(id)
        found[plain] = id if plain not in found else ""
    found.pop("", None)

    def to_id(id: str) -> str:
        plain = number(id)
        return found.get(plain, plain)

    return to_id
