"""Files and objects that hold captions, whatever their format: opened here, understood by references and predictions.

What a file is, is found out from its content. It comes down to two shapes:

* one JSON object: COCO annotations, a Karpathy split file, `{id: captions}`, `{"gts": ..., "res": ...}`;
* rows: a JSON list of objects, JSON lines, or a CSV or TSV table.

Each file may be packed with gzip. JSON lines and tables are read row by row, so they may be larger than memory.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from capwright.console import shown
from capwright.data.files import (
    DECODER,
    cut_text,
    kind_of,
    lines,
    nearest_key,
    not_utf8,
    open_packed,
    parse_json,
    reading,
)
from capwright.data.formats.from_plugin import plugin_rows
from capwright.data.formats.other_tools import TOKEN_LINE, understood, why_no_id
from capwright.data.formats.tables import ID_COLUMNS, no_captions, table_rows
from capwright.types import DataError

#: Keys of a caption that is written as an object: {"caption": "..."} as pycocoevalcap has it, {"raw": "..."}.
_TEXT_KEYS = ("caption", "raw", "text")


@dataclass(frozen=True, slots=True)
class InputRow:
    """One row, and where it stands: "results.csv:7", "results.json: item 3"."""

    value: Any
    where: str


@dataclass(frozen=True, slots=True)
class Source:
    """What was opened: either `document` (one JSON object) or `rows`.

    Attributes:
        name: for messages, the path or what the caller calls it.
        path: the file, None for an object in memory.
        document: the object, None when there are rows.
        rows: the rows one after the other, to be gone through once.
        numbered: for one of our caption files in place of `rows`: its `files.lines`, from the first on.
    """

    name: str
    path: Path | None
    document: Mapping[str, Any] | None
    rows: Iterator[InputRow]
    numbered: Iterator[tuple[int, int, bytes]] | None = None


def wrap(value: Any, name: str) -> Source:
    """A source of an object in memory: a mapping, or a sequence of rows. DataError starts with `name`."""
    if isinstance(value, Mapping):
        return _object(value, name, None)
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return Source(name, None, None, _items(value, name))
    raise DataError(f"{name}: give a path, a mapping such as {{id: caption}}, or a list of rows, not {kind_of(value)}")


def open_any(source: str | Path | Mapping[Any, Any] | Sequence[Any], name: str) -> Source:
    """Open a file, or wrap an object in memory that messages call `name`."""
    return open_source(Path(source)) if isinstance(source, (str, Path)) else wrap(source, name)


def open_source(path: Path) -> Source:
    """Open a file. DataError names the file and the line that cannot be read; rows are checked as they are read."""
    if (own := plugin_rows(path)) is not None:
        return Source(str(path), path, None, _items(own, str(path)))
    handle = open_packed(path)
    numbered = lines(path, handle)
    number, _, line = next(numbered, (0, 0, b""))
    start = line.lstrip()[:1]
    if not start:
        raise DataError(f"{path}: is empty")
    if TOKEN_LINE.fullmatch(line.decode("utf-8", "replace").strip()):
        return Source(str(path), path, None, _token_lines(chain([(number, 0, line)], numbered), path))
    if start not in (b"{", b"["):
        return Source(str(path), path, None, _table((number, 0, line), numbered, path, handle))
    if start == b"{":
        value = _row_or_none(line)
        if value is not None:
            second = next(numbered, None)
            if second is None:
                return _object(value, str(path), path)
            every = chain([(number, 0, line), second], numbered)
            if {"id", "caption", "status"} <= set(value):
                return Source(str(path), path, None, iter(()), every)
            return Source(str(path), path, None, json_lines(every, path))
    with handle, reading(path):
        rest = handle.read()
    if start == b"{" and rest.strip() and {".jsonl", ".ndjson"} & set(path.suffixes):
        next(json_lines([(number, 0, line)], path))  # says what is wrong with the first row
    whole = _parse(line + rest, path, number)
    if isinstance(whole, dict):
        return _object(whole, str(path), path)
    return Source(str(path), path, None, _items(whole, str(path)))


def open_table(path: Path, wrong: Callable[[Sequence[str]], str]) -> Iterator[InputRow]:
    """The rows of a CSV or TSV file, none of an empty one; `wrong` as for `table_rows`."""
    handle = open_packed(path)
    numbered = lines(path, handle)
    first = next(numbered, None)
    if first is not None:
        yield from _table(first, numbered, path, handle, wrong)


def _table(
    first: tuple[int, int, bytes],
    numbered: Iterator[Any],  # holds the file open
    path: Path,
    handle: Any,
    wrong: Callable[[Sequence[str]], str] = no_captions,
) -> Iterator[InputRow]:
    number, _, line = first
    with handle:
        for place, row in table_rows(chain([line], _guarded(handle, path)), path, number, wrong):
            yield InputRow(row, f"{path}:{place}")


def _guarded(handle: Iterable[bytes], path: Path) -> Iterator[bytes]:
    """The lines of an open file; what can go wrong while reading names the file."""
    with reading(path):
        yield from handle


def _object(value: Mapping[Any, Any], name: str, path: Path | None) -> Source:
    """A document, unless the object is a row of its own: a file of JSON lines with one line."""
    is_row = any(isinstance(value.get(key), (str, int)) for key in ID_COLUMNS) and any(
        key in value for key in ("caption", "captions", "references", "reference", "prediction", "text")
    )
    if is_row:
        return Source(name, path, None, iter([InputRow(value, f"{name}:1" if path else f"{name}: item 1")]))
    return Source(name, path, value, iter(()))


def _items(values: Sequence[Any], name: str) -> Iterator[InputRow]:
    for place, value in enumerate(values, 1):
        yield InputRow(value, f"{name}: item {place}")


def json_lines(numbered: Iterable[tuple[int, int, bytes]], path: Path) -> Iterator[InputRow]:
    """The rows of JSON lines, given the `files.lines` of their file."""
    for number, _, line in numbered:
        try:
            yield InputRow(parse_json(line, _DECODER), f"{path}:{number}")
        except ValueError as error:
            raise DataError(f"{path}:{number}: {error}; correct the line or delete it") from error


def _token_lines(numbered: Iterable[tuple[int, int, bytes]], path: Path) -> Iterator[InputRow]:
    """The rows of a token file of Flickr8k or Flickr30k; several of an image are its references."""
    for number, _, line in numbered:
        try:
            found = TOKEN_LINE.fullmatch(line.decode("utf-8").strip())
        except UnicodeDecodeError as error:
            raise DataError(f"{path}:{number}: {not_utf8(line, error)}") from error
        if found is None:
            raise DataError(f"{path}:{number}: must be an image, #, a number, a tab and a caption, as line 1 is")
        yield InputRow({"id": found[1], "caption": found[2]}, f"{path}:{number}")


def _row_or_none(line: bytes) -> dict[str, Any] | None:
    """The object that a line is, None when the line is no JSON object by itself."""
    try:
        value = parse_json(line, _DECODER)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _parse(data: bytes, path: Path, first: int) -> Any:
    """A whole file as one JSON value; `first` is the number of its first line."""
    try:
        return parse_json(data, _DECODER)
    except ValueError as error:
        cause, before = error.__cause__, None
        if isinstance(cause, UnicodeDecodeError):
            before = data.count(b"\n", 0, cause.start)
        elif isinstance(cause, json.JSONDecodeError):
            before = cause.lineno - 1
        place = path if before is None else f"{path}:{first + before}"
        raise DataError(f"{place}: {error}; correct the file") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys differ: a reader that keeps the last of two captions would lose one without a word."""
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f'the key "{twice}" is used twice in one object; ids must be unique')
    return found


_DECODER = json.JSONDecoder(parse_constant=DECODER.parse_constant, object_pairs_hook=_once)


def identity(value: Any, where: str) -> str:
    """An id as text; whole numbers and text are the same, nothing is stripped from either."""
    if isinstance(value, str) and value.strip():
        return text_of(value, where)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    what = f"must be text or a whole number, not {kind_of(value)}"
    if isinstance(value, (str, float)):
        what = "is empty" if isinstance(value, str) else f"must be text or a whole number, not {shown(value)}"
    raise DataError(f"{where}: the id {what}; correct it")


def row_identity(row: Mapping[str, Any], where: str) -> str:
    """The id of a row, under one of the keys of `ID_COLUMNS`."""
    for key in ID_COLUMNS:
        if row.get(key) is not None:
            return identity(row[key], where)
    raise DataError(f'{where}: has no id{nearest_key(row, ID_COLUMNS[:2])}; add "id" or "image_id"{why_no_id(row)}')


def identified_rows(source: Source, example: str) -> Iterator[tuple[str, str, Mapping[Any, Any]]]:
    """(where, id, row) of each row. DataError for one that is no object, such as `example`, or has no id."""
    for row in source.rows:
        if not isinstance(row.value, Mapping):
            raise DataError(f"{row.where}: must be an object such as {example}")
        value = understood(row.value)
        yield row.where, row_identity(value, row.where), value


def identified_values(
    document: Mapping[Any, Any], name: str, key: str, other: str, advice: str
) -> Iterator[tuple[str, str, Any]]:
    """(where, id, value) of a mapping by id, or of the one that stands under `key` beside another under `other`.

    DataError for an id that is there twice, and, with `advice`, where there is only the other one.
    """
    if key in document:
        document = document[key]
        if not isinstance(document, Mapping):
            raise DataError(f'{name}: "{key}" must be an object such as {{id: [caption]}}')
    elif set(document) == {other}:
        raise DataError(f'{name}: holds "{other}", {advice}')
    seen: set[str] = set()
    for given, value in document.items():
        where = f'{name}: key "{given}"'
        id = identity(given, where)
        if id in seen:
            raise DataError(f'{where}: the id "{id}" is there twice, as a number and as text; keep one')
        seen.add(id)
        yield where, id, value


def row_value(row: Mapping[str, Any], keys: Sequence[str]) -> tuple[str, Any]:
    """(key, value) of the first of `keys` that the row has; ("", None) when it has none."""
    for key in keys:
        if row.get(key) is not None:
            return key, row[key]
    return "", None


def text_of(value: Any, where: str) -> str:
    """One caption: text, or an object that holds it under "caption", "raw" or "text"."""
    if isinstance(value, Mapping):
        _, value = row_value(value, _TEXT_KEYS)
    if not isinstance(value, str):
        raise DataError(f"{where}: a caption must be text, not {kind_of(value)}")
    if wrong := cut_text(value):
        raise DataError(f"{where}: {wrong}")
    return value
