"""Caption files: what a captioner said, one JSON row a sample.

    {"id": "12", "caption": "A geoboard with red bands.", "status": "ok", "finish": "stop"}

Rows are appended as they are made, each in one write, so a file is good at any moment: a run that is killed leaves at
most one torn last line, which readers skip and the next writer removes. Other keys of a row are kept as they are.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from capwright.data.files import BOM, dump_json, lines, nearest, open_packed, parse_json, reading, writing
from capwright.types import STATUSES, DataError

FINISHES = ("stop", "length")
_BINARY = getattr(os, "O_BINARY", 0)  # Windows would turn line feeds into CRLF


def read_captions(path: str | Path) -> dict[str, dict[str, Any]]:
    """The rows of a caption file by id, in file order. A later row for an id replaces an earlier one (a retry).

    Every row has `id`, `caption`, `status` (default "ok", or "empty" for a caption without words) and `finish`
    (default "stop"). A last line without a line end that is not JSON was torn off by a crash and is
    skipped; so a job resumes with the ids that are missing here. A file that is packed with gzip is unpacked.

    Raises:
        DataError: names the file and line of a row that is not a caption, and what to do.
    """
    path = Path(path)
    return last_rows(lines(path, open_packed(path)), path)


def last_rows(numbered: Iterable[tuple[int, int, bytes]], path: Path) -> dict[str, dict[str, Any]]:
    """`read_captions` of a file that is open already, given its `disk.lines`."""
    found: dict[str, dict[str, Any]] = {}
    for number, _, line in numbered:
        try:
            row = parse_json(line)
        except ValueError as error:
            if not line.endswith(b"\n"):
                break
            raise DataError(f"{path}:{number}: {error}; correct the line or delete it") from error
        row = checked_row(row, f"{path}:{number}")
        found.pop(row["id"], None)
        found[row["id"]] = row
    return found


def append_captions(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Append rows one at a time as `rows` yields them; how many. Errors as `CaptionWriter`."""
    count = 0
    with CaptionWriter(path) as writer:
        for row in rows:
            writer.add(row)
            count += 1
    return count


class CaptionWriter:
    """Appends rows to a caption file; made when missing, a torn last line is removed first.

    Each `add` is one write of one whole line; when it fails half way (full disk) the half is taken back, so what stands
    in the file stays good.

    Raises:
        DataError: names the file when it can not be written, or the row that is not a caption.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | _BINARY, 0o666)
        try:
            self._mend()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> CaptionWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(self, row: Mapping[str, Any]) -> None:
        """Append one row; it is checked, and `status` and `finish` are filled in, as `read_captions` does."""
        where = f'{self.path}: the row of "{row.get("id")}"'
        data = dump_json(checked_row(dict(row), where), where) + b"\n"
        with writing(self.path):
            end = os.fstat(self._file).st_size
            try:
                written = 0
                while written < len(data):
                    written += os.write(self._file, data[written:])
            except BaseException:
                os.ftruncate(self._file, end)
                raise

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

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


def checked_row(row: Any, where: str) -> dict[str, Any]:
    """A row with `id`, `caption`, `status` and `finish` filled in. DataError starts with `where`."""
    if not isinstance(row, dict):
        raise DataError(f'{where}: a row must be an object such as {{"id": "1", "caption": "..."}}')
    identity, caption = row.get("id"), row.get("caption")
    if isinstance(identity, int) and not isinstance(identity, bool):
        identity = str(identity)
    if not isinstance(identity, str) or not identity.strip():
        raise DataError(f'{where}: "id" must be text; add the id of the sample')
    status = row.get("status")
    if caption is None and status not in (None, "ok"):
        caption = ""
    if not isinstance(caption, str):
        hint = nearest("caption", [key for key in row if key != "id"]) if caption is None else ""
        raise DataError(
            f'{where}: "caption" must be text{hint}; for a sample without one give a status such as "missing_image"'
        )
    if status is None or (status == "ok" and not caption.strip()):
        status = "ok" if caption.strip() else "empty"
    if status not in STATUSES:
        raise DataError(
            f'{where}: status "{status}" is not one of {", ".join(STATUSES)}{nearest(str(status), STATUSES)}'
        )
    finish = row.get("finish", "stop")
    if finish not in FINISHES:
        raise DataError(f'{where}: finish "{finish}" is not one of {", ".join(FINISHES)}')
    return {**row, "id": identity, "caption": caption, "status": status, "finish": finish}
