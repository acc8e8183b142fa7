"""metrics.jsonl: what happened, one JSON object a line, readable while the run goes on."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any


class MetricsLog:
    """Appends rows and flushes each. `size` is remembered by checkpoints, so that a resumed run repeats no row."""

    def __init__(self, path: Path, size: int = 0) -> None:
        """Open for appending after cutting the file down to its first `size` bytes."""
        self.path = path
        path.touch()
        os.truncate(path, min(size, path.stat().st_size))
        self._file = path.open("a", encoding="utf-8")

    def write(self, row: dict[str, Any]) -> None:
        """Append one row; numbers that are not finite become null."""
        self._file.write(json.dumps(_finite(row), ensure_ascii=False) + "\n")
        self._file.flush()

    def sync(self) -> int:
        """Make sure everything is on disk; the length in bytes."""
        os.fsync(self._file.fileno())
        return self.path.stat().st_size

    def close(self) -> None:
        self._file.close()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
