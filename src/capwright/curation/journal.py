"""What steps decided about samples, one JSON row a decision, written as it is known: the memory of a killed job.

The first row holds the settings. A journal is resumed under the same settings only, so that a dataset is never
made of two kinds of decisions. A row that was torn off by a crash is cut off; a later row of a step for an id takes the
place of an earlier one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from capwright.data.append_log import AppendLog, read_rows
from capwright.data.files import parse_json, reading
from capwright.types import EMPTY, DataError

#: The journal of `capwright curate`, and that of `capwright data questions`, whose rows are of one step.
KINDS = ("curation", "questions")
_OF_ROWS = {"id", "step", "given", "did", "status", "reason", "drop"}


@dataclass(frozen=True, slots=True)
class StepDecision:
    """What a step decided about a sample.

    Attributes:
        status: "ok", `base.UNDEFINED`, or one of `types.STATUSES`, which says why it is unknown.
        reason: for people.
        drop: why the sample is left out, in a few words that samples are counted by; "" keeps it. An unknown sample is
            kept, unless a step is told otherwise.
        data: what else `Step.apply` needs; JSON values.
    """

    status: str = "ok"
    reason: str = ""
    drop: str = ""
    data: Mapping[str, Any] = field(default_factory=lambda: EMPTY)


class StepJournal(AppendLog):
    """Opens or begins a journal. Holds where each row stands, not the rows: there may be many.

    Args:
        settings: JSON values that decide what is decided.
        kind: one of `KINDS`.
    Raises:
        DataError: names the file and the setting that differs, a row that is broken, or another job that writes it.
    """

    def __init__(self, path: str | Path, settings: Mapping[str, Any], kind: str = "curation") -> None:
        super().__init__(path, lock=True)
        self._kind = kind
        self._places: dict[tuple[str, str], int] = {}
        try:
            self._read(dict(settings))
        except BaseException:
            self.close()
            raise

    def find(self, step: str, id: str, given: str) -> StepDecision | None:
        """What stood there for this sample when the journal was opened, if the step was given the same."""
        if (step, id) not in self._places:
            return None
        with reading(self.path), open(self.path, "rb") as handle:
            handle.seek(self._places[step, id])
            row = parse_json(handle.readline())
        if row.get("given", given) != given:
            return None
        data = {key: value for key, value in row.items() if key not in _OF_ROWS}
        return StepDecision(row["status"], row["reason"], row.get("drop", ""), data)

    def record(self, step: str, id: str, given: str, did: str, decision: StepDecision) -> None:
        """Append a decision: of which step about which sample, a digest of what it was given, and what it did."""
        row: dict[str, Any] = {"id": id, "status": decision.status, "reason": decision.reason, **decision.data}
        if self._kind == "curation":
            row = {"step": step, "id": id, "did": did, "drop": decision.drop, **row, "given": given}
        self.add(row)

    def _read(self, settings: dict[str, Any]) -> None:
        rows = read_rows(self.path, hint="delete the file to begin anew")
        if (head := next(rows, None)) is None:
            self.add({"journal": self._kind, "settings": settings})
            return
        self._same(head[2], settings)
        for number, offset, row in rows:
            if isinstance(row, dict) and isinstance(row.get("status"), str) and isinstance(row.get("reason"), str):
                self._places[row.get("step", self._kind), str(row.get("id"))] = offset
            else:
                raise DataError(f"{self.path}:{number}: is not a row of a journal; delete the file to begin anew")

    def _same(self, row: Any, settings: dict[str, Any]) -> None:
        found = row.get("settings") if isinstance(row, dict) and row.get("journal") == self._kind else None
        if not isinstance(found, dict):
            raise DataError(f"{self.path}: is not a journal of {self._kind}; choose another place")
        for key in dict.fromkeys([*found, *settings]):
            if found.get(key) != settings.get(key):
                raise DataError(
                    f"{self.path}: was made with {key} {found.get(key)!r}, not {settings.get(key)!r}; "
                    "use that again, or delete the file to begin anew"
                )
