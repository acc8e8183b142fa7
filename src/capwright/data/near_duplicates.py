"""Whether two images are the same image: cheaply by a hash of 256 bits, then surely by a small copy.

Meant to find an image that was stored again: other file format, other size, compressed harder, a little brighter. It
is not meant to find other views of the same scene, and must not take two drawings on one background for the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from capwright.data.images import load_image
from capwright.types import ImageError

#: Two images are candidates when at most this many of the 256 bits differ.
MAX_BITS = 11
#: Images are decoded to about this many pixels: enough to find look-alikes.
PIXELS = 128 * 128
#: Candidates are the same when no part of their small copies differs by more than this many gray levels of 255.
MAX_DIFFERENCE = 20.0

_SIDE = 16
_MARGIN = 3
_BANDS = MAX_BITS + 1  # so two hashes that differ in MAX_BITS bits agree in at least one band
_SCATTER = np.random.default_rng(0).permutation(_SIDE * _SIDE)  # a band looks at the whole image, not at one strip
_ONES = np.array([bin(value).count("1") for value in range(256)], dtype=np.uint8)


def image_hash(image: Image.Image) -> np.ndarray:
    """256 bits as uint8[32]: whether gray rises by more than a margin from cell to cell along 16 rows.

    The margin keeps flat areas at 0, where compression noise would flip bits.
    """
    small = np.asarray(image.convert("L").resize((_SIDE + 1, _SIDE), Image.Resampling.LANCZOS), dtype=np.int16)
    bits = np.diff(small, axis=1) > _MARGIN
    return np.packbits(bits.ravel()[_SCATTER])


def small_copy(image: Image.Image) -> np.ndarray:
    """float32[32, 32, 3], the mean color taken out, for `difference`."""
    small = np.asarray(image.convert("RGB").resize((32, 32), Image.Resampling.LANCZOS), dtype=np.float32)
    return small - small.mean((0, 1))


def difference(first: np.ndarray, second: np.ndarray) -> float:
    """The largest mean absolute difference of two small copies over any of 8 x 8 parts, in gray levels."""
    return float(np.abs(first - second).mean(2).reshape(8, 4, 8, 4).mean((1, 3)).max())


class ImageComparer:
    """Whether two candidates are the same image; keeps the small copies of the last few."""

    def __init__(self) -> None:
        self._small = lru_cache(maxsize=64)(lambda path: small_copy(load_image(path, max_pixels=PIXELS)))

    def same(self, first: str | Path, second: str | Path) -> bool:
        """False also when one of them cannot be read."""
        try:
            return difference(self._small(first), self._small(second)) <= MAX_DIFFERENCE
        except ImageError:
            return False


def near_pairs(hashes: np.ndarray, ranks: np.ndarray, most: int = 4) -> Iterator[tuple[int, list[int]]]:
    """For each image, the closest others of lower rank that differ in at most `MAX_BITS` bits.

    Hashes are looked up by bands, each distinct one once, so the work grows with the number of images and of real
    neighbors, not with its square; a thousand copies of one image are one hash.

    Args:
        hashes: uint8[n, 32], from `image_hash`.
        ranks: int[n]; only images of different rank are compared.
        most: how many neighbors to give.

    Yields:
        (index, indices of its neighbors, closest first, then by index); images without neighbors are left out.
    """
    if not len(hashes):
        return
    distinct, which = np.unique(hashes, axis=0, return_inverse=True)
    order = np.lexsort((ranks, which.reshape(-1)))  # the images of each hash, by rank
    ends = np.cumsum(np.bincount(which.reshape(-1)))
    images = lambda hash: order[ends[hash - 1] if hash else 0 : ends[hash]]  # noqa: E731
    lowest = ranks.min()
    for hash, near in _near(distinct, [int(hash) for hash, end in enumerate(ends) if ranks[order[end - 1]] > lowest]):
        others = [(far, images(other)[:most].tolist()) for other, far in near]
        for index in images(hash).tolist():
            if ranks[index] > lowest:
                found = sorted((far, i) for far, some in others for i in some if ranks[i] < ranks[index])
                if found:
                    yield index, [i for _, i in found[:most]]


def _near(distinct: np.ndarray, wanted: Iterable[int]) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """(hash, [(hash at most `MAX_BITS` away, bits), ...]) of places in distinct hashes; each is near itself."""
    bands = []
    for band in np.array_split(np.arange(8 * distinct.shape[1]), _BANDS):
        key = np.zeros(len(distinct), dtype=np.int32)
        for bit in band:
            key = key << 1 | distinct[:, bit >> 3] >> (7 - (bit & 7)) & 1
        order = np.argsort(key, kind="stable").astype(np.int32)
        bands.append((order, key[order], key))
    for hash in wanted:
        found = []
        for order, in_order, key in bands:
            start, stop = np.searchsorted(in_order, [key[hash], key[hash] + 1])
            found.append(order[start:stop])
        others = np.unique(np.concatenate(found))
        far = _ONES[distinct[others] ^ distinct[hash]].sum(1)
        close = far <= MAX_BITS
        yield hash, list(zip(others[close].tolist(), far[close].tolist()))
