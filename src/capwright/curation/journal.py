"""What was asked and answered, one JSON row a sample, written as it is known: the memory of a killed job.

The first row holds the settings. A journal is resumed under the same settings only, so that a dataset is never
made of two kinds of questions. A row that was torn off by a crash is cut off; a later row for an id takes the place of
an earlier one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capwright.data.append_log import AppendLog, read_rows
from capwright.data.files import parse_json, reading
from capwright.types import DataError


class QuestionJournal(AppendLog):
    """Opens or begins a journal. Holds where each row stands, not the rows: there may be many.

    Args:
        settings: JSON values that decide what is asked.
    Raises:
        DataError: names the file and the setting that differs, a row that is broken, or another job that writes it.
    """

    def __init__(self, path: str | Path, settings: Mapping[str, Any]) -> None:
        super().__init__(path, lock=True)
        self._places: dict[str, int] = {}
        try:
            self._read(dict(settings))
        except BaseException:
            self.close()
            raise

    def find(self, id: str) -> dict[str, Any] | None:
        """The row that stood there for this id when the journal was opened."""
        if id not in self._places:
            return None
        with reading(self.path), open(self.path, "rb") as handle:
            handle.seek(self._places[id])
            return parse_json(handle.readline())

    def _read(self, settings: dict[str, Any]) -> None:
        begun = False
        for number, offset, row in read_rows(self.path, hint="delete the file to begin anew"):
            if not begun:
                self._same(row, settings)
                begun = True
            elif isinstance(row, dict) and isinstance(row.get("questions"), list):
                self._places[str(row.get("id"))] = offset
            else:
                raise DataError(f"{self.path}:{number}: is not a row of a journal; delete the file to begin anew")
        if not begun:
            self.add({"journal": "questions", "settings": settings})

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
