"""Longest common subsequences of words: their lengths for many pairs of texts at once, and the words of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from capwright.arrays import Ints, sort_keys

_Word = TypeVar("_Word")

#: Ones in each byte.
_ONES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1)

#: Words of a text that fit in one whole number of numpy.
_BITS = 64


def common_lengths(codes: NDArray[np.int32], lengths: Ints, group: Ints) -> Ints:
    """For each text, the length of its longest common subsequence with the first text of its group.

    A row of the usual table is one whole number: bit i is 0 where the length grows at word i of the first text (Hyyro
    2004, "Bit-parallel LCS-length computation revisited"). A word takes one addition, however long the first text is,
    and all texts take their words side by side.

    Args:
        codes: int32 [T], words of all texts; equal words have equal codes of 0 or more.
        lengths: int64 [N], words of each text, 1 or more; they sum to T.
        group: int64 [N], ascending from 0.

    Returns int64 [N]; for the first text of a group its own length.
    """
    start = np.cumsum(lengths) - lengths
    first = np.searchsorted(group, group)  # of each text, the first of its group
    places = _places(codes, lengths, group, first)
    # Longer texts come first: those that have no word left drop out at the end.
    order = np.argsort(-lengths, kind="stable")
    begin = start[order]
    row = np.full(len(order), -1, dtype=np.int64).view(np.uint64)
    texts_left = len(order) - np.cumsum(np.bincount(lengths))[:-1]
    for nth, left in enumerate(texts_left.tolist()):
        # Bits beyond the words of the first text are ones, and stay so.
        now = row[:left]
        here = now & places[begin[:left] + nth]
        row[:left] = (now + here) | (now - here)
    found = np.empty(len(order), dtype=np.int64)
    found[order] = _ONES[(~row).view(np.uint8)].reshape(-1, _BITS // 8).sum(axis=1)
    for text in np.flatnonzero(lengths[first] > _BITS).tolist():
        one, other = (codes[start[at] : start[at] + lengths[at]].tolist() for at in (first[text], text))
        found[text] = _common_length(one, other)
    return found


def _places(codes: NDArray[np.int32], lengths: Ints, group: Ints, first: Ints) -> NDArray[np.uint64]:
    """For each word, where it stands in the first text of its group: bit i for word i, up to the 64th."""
    text = np.repeat(np.arange(len(lengths)), lengths)
    is_first = first == np.arange(len(first))
    bits = np.zeros(len(codes), dtype=np.uint64)
    at = np.flatnonzero(is_first[text])
    nth = at - (np.cumsum(lengths) - lengths)[text[at]]
    bits[at[nth < _BITS]] = np.uint64(1) << nth[nth < _BITS].astype(np.uint64)
    key, order = sort_keys(group[text] * (int(codes.max(initial=0)) + 1) + codes)
    new = np.flatnonzero(np.diff(key, prepend=-1))
    same = np.repeat(np.add.reduceat(bits[order], new), np.diff(new, append=len(key)))
    places = np.empty_like(bits)
    places[order] = same
    return places


def _common_length(one: Sequence[int], other: Sequence[int]) -> int:
    """The same for one pair, with whole numbers of Python, which are as long as they need be."""
    places: dict[int, int] = {}
    for place, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << place
    full = (1 << len(one)) - 1
    row = full
    for word in other:
        here = row & places.get(word, 0)
        row = ((row + here) | (row - here)) & full
    return len(one) - row.bit_count()


def common_words(one: Sequence[_Word], other: Sequence[_Word]) -> list[_Word]:
    """The words of a longest common subsequence; of several as long, the one that begins first in `one`."""
    length = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i in range(len(one) - 1, -1, -1):
        for j in range(len(other) - 1, -1, -1):
            same = one[i] == other[j]
            length[i][j] = length[i + 1][j + 1] + 1 if same else max(length[i + 1][j], length[i][j + 1])
    words: list[_Word] = []
    i = j = 0
    while length[i][j]:
        if one[i] == other[j]:
            words.append(one[i])
            i, j = i + 1, j + 1
        elif length[i][j + 1] == length[i][j]:
            j += 1
        else:
            i += 1
    return words
