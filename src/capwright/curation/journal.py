"""What was asked and answered, one JSON row a sample, written as it is known: the memory of a killed job.

The first row holds the settings. A journal is gone on with under the same settings only, so that a dataset is never
made of two kinds of questions. A row that was torn off by a crash is cut off; a later row for an id takes the place of
an earlier one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from capwright.data.files import dump_json, lines, parse_json, reading, writing
from capwright.types import DataError

try:
    import fcntl
except ImportError:  # not on Windows: there two jobs on one journal are not noticed
    fcntl = None  # type: ignore[assignment]


class QuestionJournal:
    """Opens or begins a journal. Holds where each row stands, not the rows: there may be many.

    Args:
        settings: JSON values that decide what is asked.
    Raises:
        DataError: names the file and the setting that differs, a row that is broken, or another job that writes it.
    """

    def __init__(self, path: str | Path, settings: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self._places: dict[str, int] = {}
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self.path, "ab")  # noqa: SIM115
        try:
            self._lock()
            self._read(dict(settings))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> QuestionJournal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def find(self, id: str) -> dict[str, Any] | None:
        """The row that stood there for this id when the journal was opened."""
        if id not in self._places:
            return None
        with reading(self.path), open(self.path, "rb") as handle:
            handle.seek(self._places[id])
            return parse_json(handle.readline())

    def add(self, row: Mapping[str, Any]) -> None:
        """Append one row with `id` and `questions`, in one write."""
        self._append(row)

    def close(self) -> None:
        self._file.close()

    def _append(self, row: Mapping[str, Any]) -> None:
        data = dump_json(row, f"{self.path}: the row of {row.get('id')!r}") + b"\n"
        with writing(self.path):
            self._file.write(data)
            self._file.flush()

    def _lock(self) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the system lets go when the job dies
        except BlockingIOError as error:
            raise DataError(f"{self.path}: another job is writing it; wait for it or choose another place") from error
        except OSError:
            return  # a file system without locks

    def _read(self, settings: dict[str, Any]) -> None:
        begun = False
        for number, offset, line in lines(self.path):
            if not line.endswith(b"\n"):
                with writing(self.path):
                    os.truncate(self.path, offset)
                break
            try:
                row = parse_json(line)
            except ValueError as error:
                raise DataError(f"{self.path}:{number}: {error}; delete the file to begin anew") from error
            if not begun:
                self._same(row, settings)
                begun = True
            elif isinstance(row, dict) and isinstance(row.get("questions"), list):
                self._places[str(row.get("id"))] = offset
            else:
                raise DataError(f"{self.path}:{number}: is not a row of a journal; delete the file to begin anew")
        if not begun:
            self._append({"journal": "questions", "settings": settings})

    def _same(self, row: Any, settings: dict[str, Any]) -> None:
        found = row.get("settings") if isinstance(row, dict) and row.get("journal") == "questions" else None
        if not isinstance(found, dict):
            raise DataError(f"{self.path}: is not a journal of questions; choose another place")
        for key in sorted(found.keys() | settings.keys()):
            if found.get(key) != settings.get(key):
                raise DataError(
                    f"{self.path}: was made with {key} {found.get(key)!r}, not {settings.get(key)!r}; "
                    "use that again, or delete the file to begin anew"
                )
