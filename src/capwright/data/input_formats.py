"""Files and objects that hold captions, whatever their format: opened here, understood by references and predictions.

What a file is, is found out from its content. It comes down to two shapes:

* one JSON object: COCO annotations, a Karpathy split file, `{id: captions}`, `{"gts": ..., "res": ...}`;
* rows: a JSON list of objects, JSON lines, or a CSV or TSV table.

Each file may be packed with gzip. JSON lines and tables are read row by row, so they may be larger than memory.
"""

from __future__ import annotations

import gc
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from capwright.data.files import DECODER, json_trouble, lines, nearest, not_utf8, open_packed, reading
from capwright.data.formats.from_plugin import plugin_rows
from capwright.data.formats.tables import ID_COLUMNS, table_rows
from capwright.types import DataError

_SURROGATE = re.compile("[\ud800-\udfff]")
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


@contextmanager
def without_collection() -> Iterator[None]:
    """No search for garbage meanwhile: millions of objects are made, and none of them is garbage (3 times as fast)."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def wrap(value: Any, name: str) -> Source:
    """A source of an object in memory: a mapping, or a sequence of rows. DataError starts with `name`."""
    if isinstance(value, Mapping):
        return _object(value, name, None)
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return Source(name, None, None, _items(value, name))
    raise DataError(f"{name}: give a path, a mapping such as {{id: caption}}, or a list of rows, not {_kind(value)}")


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
    if start not in (b"{", b"["):
        return Source(str(path), path, None, _table(numbered, number, line, path, handle))
    if start == b"{":
        value = _row_or_none(line)
        if value is not None:
            second = next(numbered, None)
            if second is None:
                return _object(value, str(path), path)
            every = chain([(number, 0, line), second], numbered)
            if {"id", "caption", "status"} <= set(value):
                return Source(str(path), path, None, iter(()), every)
            return Source(str(path), path, None, _json_lines(every, path))
    with handle, reading(path):
        rest = handle.read()
    if start == b"{" and rest.strip() and {".jsonl", ".ndjson"} & set(path.suffixes):
        next(_json_lines([(number, 0, line)], path))  # says what is wrong with the first row
    whole = _parse(line + rest, path, number)
    if isinstance(whole, dict):
        return _object(whole, str(path), path)
    return Source(str(path), path, None, _items(whole, str(path)))


def _table(
    numbered: Iterator[tuple[int, int, bytes]], number: int, line: bytes, path: Path, handle: Any
) -> Iterator[InputRow]:
    with handle:
        for place, row in table_rows(chain([line], _guarded(handle, path)), path, number):
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


def _json_lines(numbered: Iterable[tuple[int, int, bytes]], path: Path) -> Iterator[InputRow]:
    for number, _, line in numbered:
        where = f"{path}:{number}"
        try:
            yield InputRow(_DECODER.decode(line.decode("utf-8")), where)
        except UnicodeDecodeError as error:
            raise DataError(f"{where}: {not_utf8(line, error)}") from error
        except json.JSONDecodeError as error:
            why = f"{json_trouble(error)} at column {error.colno}"
            raise DataError(f"{where}: not valid JSON: {why}; correct the line or delete it") from error
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}: {_said(error)}; correct the line or delete it") from error


def _row_or_none(line: bytes) -> dict[str, Any] | None:
    """The object that a line is, None when the line is no JSON object by itself."""
    try:
        value = _DECODER.decode(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _parse(data: bytes, path: Path, first: int) -> Any:
    """A whole file as one JSON value; `first` is the number of its first line."""
    try:
        return _DECODER.decode(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = first + data.count(b"\n", 0, error.start)
        raise DataError(f"{path}:{line}: {not_utf8(data, error)}") from error
    except json.JSONDecodeError as error:
        why = f"{json_trouble(error)} at column {error.colno}"
        raise DataError(f"{path}:{first + error.lineno - 1}: not valid JSON: {why}; correct the file") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: {_said(error)}; correct the file") from error


def _said(error: Exception) -> str:
    return "nested too deeply for captions" if isinstance(error, RecursionError) else str(error)


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
    what = f"must be text or a whole number, not {_kind(value)}"
    if isinstance(value, (str, float)):
        what = "is empty" if isinstance(value, str) else f"must be text or a whole number, not {value!r}"
    raise DataError(f"{where}: the id {what}; correct it")


def row_identity(row: Mapping[str, Any], where: str) -> str:
    """The id of a row, under one of the keys of `ID_COLUMNS`."""
    for key in ID_COLUMNS:
        if row.get(key) is not None:
            return identity(row[key], where)
    hint = next((h for key in row if (h := nearest(str(key), ID_COLUMNS[:2]))), "")
    raise DataError(f'{where}: has no id{hint}; add "id" or "image_id"')


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
        raise DataError(f"{where}: a caption must be text, not {_kind(value)}")
    if not value.isascii() and _SURROGATE.search(value):
        raise DataError(f"{where}: holds half of a surrogate pair; the text was cut or decoded wrongly")
    return value


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "an object" if isinstance(value, Mapping) else f"a {type(value).__name__}"
