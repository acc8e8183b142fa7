"""Images whose captions all failed, waiting to be shown how an expert says it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from capwright.types import Sample


class Buffer:
    """First in, first out; an image waits at most once. Holds ids and paths, never images.

    The order matters: a buffer that serves the newest failures first lets old hard cases starve.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[str]:
        return iter(self._waiting)

    def add(self, samples: Iterable[Sample]) -> int:
        """Append those that do not wait yet; says how many that were."""
        before = len(self._waiting)
        for sample in samples:
            self._waiting.setdefault(sample.id, str(sample.image))
        return len(self._waiting) - before

    def take(self, n: int) -> list[str]:
        """Remove the n that wait longest and return their ids; fewer when there are fewer."""
        ids = list(self._waiting)[:n]
        for sample_id in ids:
            del self._waiting[sample_id]
        return ids

    def state_dict(self) -> dict[str, Any]:
        return {"waiting": list(self._waiting.items())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._waiting = dict(state["waiting"])
