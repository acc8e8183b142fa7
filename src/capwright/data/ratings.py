"""Ratings by people: what a person thought of a caption, to hold scores against.

    id,system,rater,rating
    391895,rsrs,ann,4
    391895,rsrs,ben,3

CSV and TSV files name their columns in the first line; JSONL files have one object a line with the same keys. `id` and
`rating` must be there, `system` (whose caption it is) and `rater` may be. Other columns are not read.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capwright.data.files import lines, nearest, open_packed, parse_json, read_text
from capwright.types import DataError

#: Other names under which the columns are found.
_COLUMNS = {
    "id": ("id", "image_id", "sample_id"),
    "rating": ("rating", "score", "label"),
    "system": ("system", "model", "captioner"),
    "rater": ("rater", "annotator", "worker_id"),
}


@dataclass(frozen=True, slots=True)
class Rating:
    """What one person thought of one caption.

    Attributes:
        id: of the sample (the image), as text.
        rating: higher is better, on whatever scale the people had.
        system: whose caption it is; "" when the file is about one system.
        rater: who it was; "" when unknown.
    """

    id: str
    rating: float
    system: str = ""
    rater: str = ""


def read_ratings(path: str | Path) -> list[Rating]:
    """The ratings of a file (.csv, .tsv, .jsonl, each also .gz), in its order.

    Columns may also be called image_id, sample_id; score, label; model, captioner; annotator, worker_id. An id that is
    a number is its digits. The cells of a row without a rating (blank or null) are unknown: the row is skipped.

    Raises:
        DataError: names the file and line of what cannot be read, and what to do; also when one rater rates a caption
            twice, and when no row has a rating.
    """
    path = Path(path)
    kind = path.name.removesuffix(".gz").rpartition(".")[2].lower()
    if kind not in ("csv", "tsv", "jsonl"):
        raise DataError(
            f"{path}: ratings are read from .csv, .tsv or .jsonl files (or .gz of these); rename or convert it"
        )
    rows = _json_rows(path) if kind == "jsonl" else _table_rows(path)
    found: list[Rating] = []
    places: dict[tuple[str, str, str], int] = {}
    for number, row in rows:
        rating = _rating(row, f"{path}:{number}")
        if rating is None:
            continue
        if rating.rater:
            first = places.setdefault((rating.id, rating.system, rating.rater), number)
            if first != number:
                of = f" of {rating.system}" if rating.system else ""
                raise DataError(
                    f'{path}:{number}: "{rating.rater}" has rated the caption{of} of "{rating.id}" on line {first}; '
                    "keep one of the two ratings"
                )
        found.append(rating)
    if not found:
        raise DataError(f"{path}: there is no rating in it; add rows with an id and a rating")
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
    return Rating(values["id"], number, values["system"] or "", values["rater"] or "")


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


def _json_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, _, line in lines(path, open_packed(path)):
        try:
            row = parse_json(line)
        except ValueError as error:
            raise DataError(f"{path}:{number}: {error}; correct the line or delete it") from error
        if not isinstance(row, dict):
            raise DataError(f'{path}:{number}: a row must be an object such as {{"id": "1", "rating": 4}}')
        _check_columns(row, f"{path}:{number}")
        yield number, row


def _table_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    text = read_text(path)
    table = csv.reader(io.StringIO(text, newline=""), delimiter=_separator(text), strict=True)
    names: list[str] = []
    end = 0
    try:
        for cells in table:
            number, end = end + 1, table.line_num  # a quoted cell may hold line ends
            if not any(cell.strip() for cell in cells):
                continue
            if not names:
                names = [cell.strip().lower() for cell in cells]
                _check_columns(names, f"{path}:{number}")
                twice = next((name for name in names if name and names.count(name) > 1), None)
                if twice is not None:
                    raise DataError(f'{path}:{number}: names the column "{twice}" twice; rename or remove one')
                continue
            if len(cells) > len(names):
                raise DataError(
                    f"{path}:{number}: {len(cells)} cells, but the first line names {len(names)} columns; put "
                    "cells that hold the separator into double quotes"
                )
            yield number, dict(zip(names, cells))
    except csv.Error as error:
        raise DataError(f"{path}:{end + 1}: cannot be read as a table: {error}; correct the quotes") from error


def _separator(text: str) -> str:
    """Tab, comma or semicolon, whichever cuts the first line into most cells: spreadsheets do not all use the comma."""
    first = text.lstrip().partition("\n")[0]
    return max("\t,;", key=first.count)


def _check_columns(names: Iterable[str], where: str) -> None:
    there = list(names)
    for column in ("id", "rating"):
        if not any(name in there for name in _COLUMNS[column]):
            raise DataError(
                f'{where}: there is no column "{column}" among {", ".join(map(str, there))}{nearest(column, there)}; '
                "rename the one that holds it"
            )
