"""Layout "jsonl": a folder with `samples.jsonl`, one sample a line, beside `images/` and `vocabulary.yaml`."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from capwright.data.files import Replacement, dump_json, file_digest, lines, parse_json, reading
from capwright.data.sample_rows import Note, RowReader, Where, refuse, repeated, strict, to_row
from capwright.types import DataError, Sample

FILE = "samples.jsonl"


def jsonl_rows(root: Path, note: Note) -> Iterator[tuple[Any, Where]]:
    """Every row that is JSON, with where it stands; `note` hears of lines that are none, and of ids used twice."""
    path = root / FILE
    ids: list[str] = []
    places = array("q")
    for line, _, row in parsed_rows(path, note):
        if isinstance(row, dict) and isinstance(row.get("id"), (str, int)):
            ids.append(str(row["id"]))
            places.append(line)
        yield row, lambda key, line=line: (path, line)  # type: ignore[misc]
    for first, later in repeated(ids):
        note("error", path, places[later], f"the id was used on line {places[first]}; ids must be unique")


def parsed_rows(path: Path, note: Note) -> Iterator[tuple[int, int, Any]]:
    """(line number, byte offset, parsed row) of each line that is JSON; `note` hears of those that are not."""
    for number, offset, line in lines(path):
        try:
            row = parse_json(line)
        except ValueError as error:
            note("error", path, number, f"{error}; correct the line or delete it")
        else:
            yield number, offset, row


class Jsonl:
    """The annotations of a jsonl dataset: byte offsets now, rows when asked for. See `formats.Annotations`.

    Raises:
        DataError: names file and line of the first bad row or of the second row with an id.
    """

    layout = "jsonl"

    def __init__(self, root: Path, reader: RowReader) -> None:
        self.path = root / FILE
        self.split_names: list[str] = []
        self.split_codes = array("i")
        self.ids: list[str] = []
        self._offsets = array("q")
        self._reader = reader
        line_numbers = array("q")
        codes: dict[str, int] = {}

        for number, offset, row in parsed_rows(self.path, refuse):
            sample = reader.read(row, strict(lambda key, number=number: f"{self.path}:{number}"))  # type: ignore[misc]
            assert sample is not None
            self.ids.append(sample.id)
            self._offsets.append(offset)
            line_numbers.append(number)
            self.split_codes.append(codes.setdefault(sample.split, len(codes)))
        self.split_names = list(codes)
        for first, later in repeated(self.ids):
            raise DataError(
                f'{self.path}:{line_numbers[later]}: the id "{self.ids[later]}" was used on line '
                f"{line_numbers[first]}; ids must be unique"
            )
        with reading(self.path):
            self.fingerprint = file_digest(self.path)

    def __len__(self) -> int:
        return len(self._offsets)

    def read(self, indices: Iterable[int]) -> Iterator[Sample]:
        complain = strict(lambda key: str(self.path))
        with reading(self.path):
            handle = open(self.path, "rb")  # noqa: SIM115
        with handle:
            for index in indices:
                with reading(self.path):
                    handle.seek(self._offsets[index])
                    line = handle.readline()
                try:
                    sample = self._reader.read(parse_json(line), complain)
                except (ValueError, DataError):
                    sample = None
                if sample is None or sample.id != self.ids[index]:
                    raise DataError(f"{self.path}: changed since it was opened; open the dataset again")
                yield sample


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
