"""metrics.jsonl: what happened, one JSON object a line, readable while the run goes on."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from capwright.data.append_log import AppendLog


class MetricsLog(AppendLog):
    """Appends rows. Its size is remembered by checkpoints, so that a resumed run repeats no row."""

    def __init__(self, path: Path, size: int = 0) -> None:
        """Open for appending after cutting the file down to its first `size` bytes."""
        super().__init__(path, size=size)

    def write(self, row: dict[str, Any]) -> None:
        """Append one row; numbers that are not finite become null."""
        self.add(_finite(row))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
