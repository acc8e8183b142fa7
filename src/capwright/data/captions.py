"""Caption files: what a captioner said, one JSON row a sample.

    {"id": "12", "caption": "A geoboard with red bands.", "status": "ok", "finish": "stop"}

Rows are appended as they are made (`append_log`). Other keys of a row are kept as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from capwright.data.append_log import AppendLog, read_rows
from capwright.data.files import lines, nearest, open_packed, without_collection
from capwright.data.model_text import never_answers
from capwright.types import STATUSES, DataError

FINISHES = ("stop", "length")


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
    """`read_captions` of a file that is open already, given its `files.lines`."""
    found: dict[str, dict[str, Any]] = {}
    with without_collection():
        for number, _, row in read_rows(path, numbered):
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


class CaptionWriter(AppendLog):
    """Appends rows to a caption file. Also raises DataError for a row that is not a caption."""

    def add(self, *rows: Mapping[str, Any], where: str = "") -> None:
        """Append rows; each is checked, and `status` and `finish` are filled in, as `read_captions` does."""
        for row in rows:
            place = where or f'{self.path}: the row of "{row.get("id")}"'
            super().add(checked_row(dict(row), place), where=place)


def checked_row(row: Any, where: str) -> dict[str, Any]:
    """A row with `id`, `caption`, `status` and `finish` filled in. DataError starts with `where`.

    A text that never comes to the end of its thoughts ("<think> ...") is no caption: its status is "truncated".
    """
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
    if status == "ok" and never_answers(caption):
        status = "truncated"
    if status not in STATUSES:
        raise DataError(
            f'{where}: status "{status}" is not one of {", ".join(STATUSES)}{nearest(str(status), STATUSES)}'
        )
    finish = row.get("finish", "stop")
    if finish not in FINISHES:
        raise DataError(f'{where}: finish "{finish}" is not one of {", ".join(FINISHES)}')
    return {**row, "id": identity, "caption": caption, "status": status, "finish": finish}
