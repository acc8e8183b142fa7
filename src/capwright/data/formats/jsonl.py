"""Layout "jsonl": a folder with `samples.jsonl`, one sample a line, beside `images/` and `vocabulary.yaml`."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from capwright.data.files import Replacement, dump_json, lines, parse_json, reading
from capwright.data.ids import id_hash, repeated
from capwright.data.sample_rows import RowReader, strict, to_row
from capwright.types import DataError, Sample

FILE = "samples.jsonl"

#: note(severity, line, message) about the file.
JsonlNote = Callable[[str, int, str], None]


def rows(path: Path, note: JsonlNote) -> Iterator[tuple[int, int, Any]]:
    """(line number, byte offset, parsed row) of each line that is JSON; `note` hears of those that are not."""
    for number, offset, line in lines(path):
        try:
            row = parse_json(line)
        except ValueError as error:
            note("error", number, f"{error}; correct the line or delete it")
        else:
            yield number, offset, row


class Jsonl:
    """The annotations of a jsonl dataset: byte offsets now, rows when asked for. See `dataset.Annotations`.

    Raises:
        DataError: names file and line of the first bad row or of the second row with an id.
    """

    layout = "jsonl"

    def __init__(self, root: Path, reader: RowReader) -> None:
        self.path = root / FILE
        self.split_names: list[str] = []
        self.split_codes = array("i")
        self.hashes = array("Q")
        self._offsets = array("q")
        self._reader = reader
        line_numbers = array("q")
        codes: dict[str, int] = {}

        def note(severity: str, line: int, message: str) -> None:
            raise DataError(f"{self.path}:{line}: {message}")

        for number, offset, row in rows(self.path, note):
            sample = reader.read(row, strict(lambda key, number=number: f"{self.path}:{number}"))  # type: ignore[misc]
            assert sample is not None
            self.hashes.append(id_hash(sample.id))
            self._offsets.append(offset)
            line_numbers.append(number)
            self.split_codes.append(codes.setdefault(sample.split, len(codes)))
        self.split_names = list(codes)
        for first, later in repeated(self.hashes):
            raise DataError(
                f'{self.path}:{line_numbers[later]}: the id "{self.sample(later).id}" was used on line '
                f"{line_numbers[first]}; ids must be unique"
            )
        with reading(self.path), open(self.path, "rb") as handle:
            digest = hashlib.sha256()
            while block := handle.read(1 << 20):
                digest.update(block)
        self.fingerprint = digest.hexdigest()

    def __len__(self) -> int:
        return len(self._offsets)

    def sample(self, index: int) -> Sample:
        with reading(self.path), open(self.path, "rb") as handle:
            handle.seek(self._offsets[index])
            line = handle.readline()
        try:
            sample = self._reader.read(parse_json(line), strict(lambda key: str(self.path)))
        except (ValueError, DataError):
            sample = None
        if sample is None or id_hash(sample.id) != self.hashes[index]:
            raise DataError(f"{self.path}: changed since it was opened; open the dataset again")
        return sample


class JsonlWriter:
    """Writes samples.jsonl; complete after `flush`, there after `commit`."""

    def __init__(self, root: Path) -> None:
        self._file = Replacement(root / FILE)

    def add(self, sample: Sample, images: Sequence[str]) -> None:
        self._file.write(dump_json(to_row(sample, images), f'sample "{sample.id}"') + b"\n")

    def flush(self) -> None:
        self._file.flush()

    def commit(self) -> None:
        self._file.commit()

    def discard(self) -> None:
        self._file.discard()
