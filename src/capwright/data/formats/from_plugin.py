"""Files in a format of a plugin: the end of the file's name says which."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from capwright import plugins
from capwright.data.ids import id_hash, repeated
from capwright.data.sample_rows import RowReader, strict
from capwright.types import CapwrightError, DataError, Sample

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


class PluginRows:
    """The annotations of such a file, all in memory. See `dataset.Annotations`.

    Raises:
        DataError: names file and item of the first bad row or of the second row with an id.
    """

    def __init__(self, path: Path, reader: RowReader, rows: Sequence[dict[str, Any]]) -> None:
        self.layout = path.suffix[1:].lower()
        self._samples: list[Sample] = []
        for number, row in enumerate(rows, 1):
            sample = reader.read(row, strict(lambda key, number=number: f"{path}: item {number}"))  # type: ignore[misc]
            assert sample is not None
            self._samples.append(sample)
        self.hashes = array("Q", [id_hash(sample.id) for sample in self._samples])
        for first, later in repeated(self.hashes):
            again = f'{path}: item {later + 1}: the id "{self._samples[later].id}" was used by item {first + 1}'
            raise DataError(f"{again}; ids must be unique")
        self.split_names = list(dict.fromkeys(sample.split for sample in self._samples))
        self.split_codes = array("i", [self.split_names.index(sample.split) for sample in self._samples])
        content = json.dumps(list(rows), sort_keys=True, default=str)
        self.fingerprint = hashlib.sha256(content.encode("utf-8", "backslashreplace")).hexdigest()

    def __len__(self) -> int:
        return len(self._samples)

    def sample(self, index: int) -> Sample:
        return self._samples[index]
