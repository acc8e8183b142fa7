"""Sorted keys and runs of places, for counting words in whole arrays at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def sort_keys(key: Ints) -> tuple[Ints, Ints]:
    """Keys of 0 or more in ascending order, and their places before; equal ones in the order of their places."""
    bits = len(key).bit_length()
    if int(key.max(initial=0)) >> (63 - bits):
        order = np.argsort(key, kind="stable")
        return key[order], order
    # A key and its place in one number: numpy sorts numbers far faster than it finds the order of them.
    both = key << bits
    both |= np.arange(len(key))
    both.sort()
    order = both & ((1 << bits) - 1)
    both >>= bits
    return both, order


def ranges(start: Ints, each: Ints) -> Ints:
    """start[0], start[0] + 1, ... `each[0]` of them, then as many as `each[1]` from start[1] on, and so forth."""
    return np.arange(each.sum()) + np.repeat(start - np.cumsum(each) + each, each)
