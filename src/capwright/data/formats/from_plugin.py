"""Files in a format of a plugin: the end of the file's name says which."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from capwright import plugins
from capwright.data.formats import Layout
from capwright.data.formats.held import HeldSamples
from capwright.data.formats.jsonl import JsonlWriter
from capwright.data.sample_rows import Note, RowReader, Where, repeated, strict
from capwright.types import CapwrightError, DataError

#: How the names of files end that are read without plugins.
BUILT_IN = dict.fromkeys(("json", "jsonl", "ndjson", "csv", "tsv", "txt", "gz", "yaml", "yml"))


def has_plugin(path: Path) -> bool:
    """Whether a plugin reads files with such a name."""
    name = path.suffix[1:].lower()
    if name not in BUILT_IN and not plugins.knows("format", name):
        return False
    return plugins.resolve("format", name, BUILT_IN, DataError) is not None


def plugin_rows(path: Path) -> list[dict[str, Any]] | None:
    """All rows of a file whose format a plugin brings; None where none does, or where there is no such file.

    A format is a function of the path. It gives rows with the keys of `samples.jsonl`, of a caption file, or of other
    JSON lines.

    Raises:
        DataError: the plugin failed, or gave something else than rows: names the file.
    """
    if not has_plugin(path) or not path.is_file():
        return None
    name = path.suffix[1:].lower()
    try:
        rows = list(plugins.resolve("format", name, BUILT_IN, DataError)(path))
    except CapwrightError:
        raise
    except Exception as error:
        raise DataError(f"{path}: the format {name!r} cannot read it: {plugins.describe(error)}") from error
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping):
            raise DataError(f"{path}: item {number}: the format {name!r} must give objects, not {type(row).__name__}")
    return [dict(row) for row in rows]


def plugin_layout(path: Path) -> Layout | None:
    """How such a file is read as a dataset, and None and errors, as in `plugin_rows`; its rows are held in memory."""
    found = plugin_rows(path)
    if found is None:
        return None
    return Layout(path.name, partial(_open, path, found), partial(_located, path, found), JsonlWriter)


def _open(path: Path, rows: list[dict[str, Any]], root: Path, reader: RowReader) -> HeldSamples:
    samples = []
    for number, row in enumerate(rows, 1):
        sample = reader.read(row, strict(lambda key, number=number: f"{path}: item {number}"))  # type: ignore[misc]
        assert sample is not None
        samples.append(sample)
    content = json.dumps(rows, sort_keys=True, default=str).encode("utf-8", "backslashreplace")
    held = HeldSamples(path.suffix[1:].lower(), samples, hashlib.sha256(content).hexdigest())
    for first, later in repeated(held.ids):
        again = f'{path}: item {later + 1}: the id "{samples[later].id}" was used by item {first + 1}'
        raise DataError(f"{again}; ids must be unique")
    return held


def _located(path: Path, rows: list[dict[str, Any]], root: Path, note: Note) -> Iterator[tuple[Any, Where]]:
    """Every row; there are no lines to point at."""
    for row in rows:
        yield row, lambda key: (path, None)
    for first, later in repeated(str(row.get("id")) for row in rows):
        note("error", path, None, f"item {later + 1}: the id was used by item {first + 1}; ids must be unique")
