"""One file a format. The layouts of dataset folders are in `LAYOUTS`.

`jsonl` is the native one, whose rows are read when they are asked for. Any other is imported when a folder of it is
opened, so its samples are held in memory, and exported when it is asked for.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from capwright.data.formats import ecac, jsonl
from capwright.data.sample_rows import Note, RowReader, Where
from capwright.types import Sample


class Annotations(Protocol):
    """What a layout gives: everything about the rows of one dataset. Built once, shared by all views of it."""

    layout: str
    ids: list[str]
    split_names: list[str]
    split_codes: array[int]
    fingerprint: str

    def __len__(self) -> int: ...

    def read(self, indices: Iterable[int]) -> Iterator[Sample]: ...


class DatasetWriter(Protocol):
    """How a layout is written: `add` each sample, `flush`, `commit`; or `discard`, which leaves nothing behind."""

    def add(self, sample: Sample, images: Sequence[str]) -> None: ...

    def flush(self) -> None: ...

    def commit(self) -> None: ...

    def discard(self) -> None: ...


@dataclass(frozen=True)
class Layout:
    """How dataset folders of one layout are known, read, checked and written.

    Attributes:
        marker: the file that makes a folder a dataset of this layout; it is written last.
        open: the annotations of a folder; raises DataError at the first thing that cannot be used.
        rows: every row, in the form of `sample_rows`, with where its keys stand; the note hears of what is wrong.
        writer: writes the annotations of a new dataset.
    """

    marker: str
    open: Callable[[Path, RowReader], Annotations]
    rows: Callable[[Path, Note], Iterator[tuple[Any, Where]]]
    writer: Callable[[Path], DatasetWriter]


#: name -> layout; the first is the native one.
LAYOUTS = {
    "jsonl": Layout(jsonl.FILE, jsonl.Jsonl, jsonl.jsonl_rows, jsonl.JsonlWriter),
    "ecac": Layout(ecac.CAPTIONS, ecac.open_ecac, ecac.ecac_rows, ecac.EcacWriter),
}
