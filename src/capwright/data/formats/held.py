"""Samples of a format that is read as a whole: they are held in memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence

from capwright.types import Sample


class HeldSamples:
    """The annotations of an imported dataset. See `formats.Annotations`."""

    def __init__(self, layout: str, samples: Sequence[Sample], fingerprint: str) -> None:
        self.layout, self.fingerprint = layout, fingerprint
        self._samples = samples
        codes: dict[str, int] = {}
        self.split_codes = array("i", (codes.setdefault(sample.split, len(codes)) for sample in samples))
        self.split_names = list(codes)
        self.ids = [sample.id for sample in samples]

    def __len__(self) -> int:
        return len(self._samples)

    def read(self, indices: Iterable[int]) -> Iterator[Sample]:
        return map(self._samples.__getitem__, indices)
