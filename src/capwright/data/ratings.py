"""Ratings by people: what a person thought of a caption, to hold scores against.

    id,system,rater,rating
    391895,rsrs,ann,4
    391895,rsrs,ben,3

CSV and TSV files name their columns in the first line; JSONL files have one object a line with the same keys. `id` and
`rating` must be there, `system` (whose caption it is), `caption` (its text) and `rater` may be. Other columns are not
read. `ExpertAnnotations.txt` of Flickr8k, which names captions by number, is read as it is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from capwright.data import input_formats as inputs
from capwright.data.files import lines, nearest, open_packed
from capwright.types import DataError, Sample

#: Other names under which the columns are found.
_COLUMNS = {
    "id": ("id", "image_id", "sample_id"),
    "rating": ("rating", "score", "label"),
    "system": ("system", "model", "captioner"),
    "rater": ("rater", "annotator", "worker_id"),
    "caption": ("caption", "candidate", "text"),
}
_EXPERTS = re.compile(r"(\S+)\t(\S+#\d+)\t([1-4])\t([1-4])\t([1-4])\s*")


@dataclass(frozen=True, slots=True)
class Rating:
    """What one person thought of one caption.

    Attributes:
        id: of the sample (the image), as text.
        rating: higher is better, on whatever scale the people had.
        system: whose caption it is; "" when the file is about one system.
        rater: who it was; "" when unknown.
        caption: the text that was rated, or its number in a file of captions ("1001.jpg#2"); "" when not said.
    """

    id: str
    rating: float
    system: str = ""
    rater: str = ""
    caption: str = ""


def read_ratings(path: str | Path) -> list[Rating]:
    """The ratings of a file (.csv, .tsv, .jsonl, each also .gz), in its order.

    Columns may also be called image_id, sample_id; score, label; model, captioner; annotator, worker_id; candidate,
    text. An id that is
    a number is its digits. The cells of a row without a rating (blank or null) are unknown: the row is skipped.

    Raises:
        DataError: names the file and line of what cannot be read, and what to do; also when one rater rates a caption
            twice, and when no row has a rating.
    """
    path = Path(path)
    kind = path.name.removesuffix(".gz").rpartition(".")[2].lower()
    if kind == "txt":
        return _experts(path)
    if kind not in ("csv", "tsv", "jsonl"):
        raise DataError(
            f"{path}: ratings are read from .csv, .tsv or .jsonl files (or .gz of these); rename or convert it"
        )
    found: list[Rating] = []
    places: dict[tuple[str, ...], str] = {}
    for row in _rows(path, kind):
        rating = _rating(row.value, row.where)
        if rating is None:
            continue
        if rating.rater:
            first = places.setdefault((rating.id, rating.system, rating.rater, rating.caption), row.where)
            if first != row.where:
                of, line = f" of {rating.system}" if rating.system else "", first.rpartition(":")[2]
                what = f'"{rating.rater}" has rated the caption{of} of "{rating.id}" on line {line}'
                raise DataError(f"{row.where}: {what}; keep one of the two ratings")
        found.append(rating)
    if not found:
        raise DataError(f"{path}: there is no rating in it; add rows with an id and a rating")
    return found


def _experts(path: Path) -> list[Rating]:
    """Image, number of the caption, and what each of three experts gave it, from 1 to 4 (Hodosh et al., 2013)."""
    found = []
    for number, _, line in lines(path, open_packed(path)):
        row = _EXPERTS.fullmatch(line.decode("utf-8", "replace"))
        if row is None:
            raise DataError(
                f"{path}:{number}: a .txt file of ratings must be ExpertAnnotations.txt of Flickr8k (image, caption "
                "number, three ratings from 1 to 4, with tabs); write others as CSV with id, caption and rating"
            )
        found += [Rating(row[1], float(row[2 + rater]), "", f"expert {rater}", row[2]) for rater in (1, 2, 3)]
    return found


def with_texts(ratings: Iterable[Rating], samples: Iterable[Sample]) -> list[Rating]:
    """Ratings whose captions are named by number ("1001.jpg#2" is the third of 1001.jpg), with the texts themselves.

    Raises DataError for a caption that the samples do not have.
    """
    texts = {f"{sample.id}#{n}": text for sample in samples for n, text in enumerate(sample.references)}
    found = []
    for rating in ratings:
        if rating.caption not in texts:
            raise DataError(f'there is no caption "{rating.caption}"; name the file that the numbers are of')
        found.append(replace(rating, caption=texts[rating.caption]))
    return found


def ratings_by_caption(ratings: Iterable[Rating]) -> dict[tuple[str, str], tuple[float, ...]]:
    """(system, id) -> all its ratings, in the order in which captions first appear."""
    found: dict[tuple[str, str], list[float]] = {}
    for rating in ratings:
        found.setdefault((rating.system, rating.id), []).append(rating.rating)
    return {caption: tuple(several) for caption, several in found.items()}


def _rating(row: Mapping[str, Any], where: str) -> Rating | None:
    values = {column: _cell(row, column, where) for column in _COLUMNS}
    if values["id"] is None:
        raise DataError(f'{where}: the row has no "id"; add the id of the image')
    if values["rating"] is None:
        return None
    try:
        number = float(values["rating"])
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f'{where}: rating "{values["rating"]}" is not a number; write it with a point, such as 3.5')
    return Rating(values["id"], number, *(values[name] or "" for name in ("system", "rater", "caption")))


def _cell(row: Mapping[str, Any], column: str, where: str) -> str | None:
    """The text of a column under any of its names; None where it is absent or blank."""
    for name in _COLUMNS[column]:
        if name in row:
            value = row[name]
            if isinstance(value, (list, dict)):
                raise DataError(f'{where}: "{name}" must be one text or number; give every rating a row of its own')
            text = "" if value is None else str(value).strip()
            return text or None
    return None


def _rows(path: Path, kind: str) -> Iterator[inputs.InputRow]:
    if kind != "jsonl":
        yield from inputs.open_table(path, _missing)
        return
    for row in inputs.json_lines(lines(path, open_packed(path)), path):
        if not isinstance(row.value, dict):
            raise DataError(f'{row.where}: a row must be an object such as {{"id": "1", "rating": 4}}')
        if missing := _missing(list(row.value)):
            raise DataError(f"{row.where}: {missing}")
        yield row


def _missing(names: Sequence[str]) -> str:
    """Which column is not among these; "" when nothing is missing."""
    for column in ("id", "rating"):
        if not any(name in names for name in _COLUMNS[column]):
            there = f"{', '.join(names)}{nearest(column, names)}"
            return f'there is no column "{column}" among {there}; rename the one that holds it'
    return ""
