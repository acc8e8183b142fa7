"""Files that are only ever added to, one JSON row a line: captions, verdicts, questions, metrics.

Each `add` is one write of whole lines, so a file is good at any moment: a job that is killed leaves at most one torn
last line, which readers skip and the next writer removes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

from capwright.data.files import BOM, dump_json, lines, parse_json, reading, writing
from capwright.data.locks import only_one
from capwright.types import DataError

_BINARY = getattr(os, "O_BINARY", 0)  # Windows would turn line feeds into CRLF
Self = TypeVar("Self", bound="AppendLog")


class AppendLog:
    """A file open for adding rows; made when missing.

    Args:
        lock: refuse a file that another job is writing, and hold it until `close`.
        size: cut the file down to so many bytes first (what a checkpoint knew). None: only a torn last line is removed,
            and a whole last line is ended.

    Raises:
        DataError: names the file that cannot be written, or is locked.
    """

    def __init__(self, path: str | Path, *, lock: bool = False, size: int | None = None) -> None:
        self.path, self._file, self._lock = Path(path), -1, ExitStack()
        try:
            if lock:
                self._lock.enter_context(only_one(self.path))
            with writing(self.path):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | _BINARY, 0o666)
            if size is None:
                self._mend()
            else:
                with writing(self.path):
                    os.ftruncate(self._file, min(size, os.fstat(self._file).st_size))
        except BaseException:
            self.close()
            raise

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, *rows: Mapping[str, Any], where: str = "") -> None:
        """Append rows in one write; a half that could be written (full disk) is taken back.

        `where` begins the message about a row that is no JSON; by default the path.
        """
        data = b"".join(dump_json(row, where or str(self.path)) + b"\n" for row in rows)
        with writing(self.path):
            end = os.fstat(self._file).st_size
            try:
                written = 0
                while written < len(data):
                    written += os.write(self._file, data[written:])
            except BaseException:
                os.ftruncate(self._file, end)
                raise

    def sync(self) -> int:
        """Make sure everything is on disk; the length in bytes."""
        os.fsync(self._file)
        return os.fstat(self._file).st_size

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self._lock.close()

    def _mend(self) -> None:
        """End the last line, or cut it off when it is torn."""
        with reading(self.path):
            size = os.fstat(self._file).st_size
            tail = b""
            start = size
            while start > 0 and b"\n" not in tail:
                step = min(start, 1 << 16)
                start -= step
                os.lseek(self._file, start, os.SEEK_SET)
                tail = os.read(self._file, step) + tail
        last = tail[tail.rfind(b"\n") + 1 :]
        if not last:
            return
        try:
            parse_json(last.removeprefix(BOM))
        except ValueError:
            with writing(self.path):
                os.ftruncate(self._file, size - len(last))
        else:
            with writing(self.path):
                os.write(self._file, b"\n")


def read_rows(
    path: Path, numbered: Iterable[tuple[int, int, bytes]] | None = None, hint: str = "correct the line or delete it"
) -> Iterator[tuple[int, int, Any]]:
    """(line number, byte offset, value) of each row; a torn last line (a crash) is skipped.

    Args:
        numbered: `files.lines` of a file that is open already.
        hint: what to do about a line that is no JSON, for its error.
    """
    for number, offset, line in lines(path) if numbered is None else numbered:
        try:
            row = parse_json(line)
        except ValueError as error:
            if not line.endswith(b"\n"):
                return
            raise DataError(f"{path}:{number}: {error}; {hint}") from error
        yield number, offset, row
