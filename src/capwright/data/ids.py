"""Ids of samples as 64-bit hashes: eight bytes each, enough to find a sample and to notice a second one."""

from __future__ import annotations

from array import array
from hashlib import blake2b

import numpy as np


def id_hash(id: str) -> int:
    """64 bits of BLAKE2b over the id, the same in every process."""
    return int.from_bytes(blake2b(id.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def repeated(hashes: array[int]) -> list[tuple[int, int]]:
    """(position of the first, position of a later one) for each hash that occurs again, by the later position."""
    values = np.array(hashes, dtype=np.uint64)
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    firsts = first[inverse]
    later = np.flatnonzero(firsts != np.arange(len(values)))
    return [(int(firsts[i]), int(i)) for i in later]


class Finder:
    """Finds ids among hashes in about twenty steps each."""

    def __init__(self, hashes: array[int] | np.ndarray) -> None:
        self._hashes = np.array(hashes, dtype=np.uint64)
        self._order = np.argsort(self._hashes, kind="stable")
        self._sorted = self._hashes[self._order]

    def find(self, id: str) -> int:
        """Where `id` first stands, or -1."""
        wanted = np.uint64(id_hash(id))
        at = int(np.searchsorted(self._sorted, wanted))
        return int(self._order[at]) if at < len(self._sorted) and self._sorted[at] == wanted else -1
