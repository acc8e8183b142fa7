"""A dataset: samples on disk, read one at a time.

What is held in memory is the id of each sample, where its row is and its split; rows are parsed when they are asked for
and images are never held. Only a layout that is imported (`formats`) is held as a whole.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import overload

import numpy as np

from capwright.data.files import file_digest, nearest, reading
from capwright.data.formats import LAYOUTS, Annotations, Layout
from capwright.data.formats.from_plugin import plugin_layout
from capwright.data.sample_rows import RowReader
from capwright.data.vocabulary import read_vocabulary
from capwright.types import DataError, Sample, Vocabulary

VOCABULARY = "vocabulary.yaml"


class Dataset(Sequence[Sample]):
    """Samples of one dataset, or of one split of it, in file order. Made by `open_dataset`; can be pickled.

    Attributes:
        root: the dataset folder, absolute.
        layout: "jsonl", "ecac", or the name of a plugin's format.
        vocabulary: the terms of the domain; empty when the dataset names none.
        fingerprint: 16 hex digits of a SHA-256 over the annotation files and the vocabulary (not over the images).
            A split has the fingerprint of the whole.
    """

    def __init__(
        self, root: Path, vocabulary: Vocabulary, annotations: Annotations, indices: np.ndarray | None = None
    ) -> None:
        self.root = root
        self.vocabulary = vocabulary
        self.layout = annotations.layout
        self.fingerprint = annotations.fingerprint
        self._annotations = annotations
        self._indices = np.arange(len(annotations), dtype=np.int64) if indices is None else indices
        self._places: dict[str, int] | None = None  # by id; made when it is needed

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Dataset: ...
    def __getitem__(self, index: int | slice) -> Sample | Dataset:
        if isinstance(index, slice):
            return self._view(self._indices[index])
        return next(self._annotations.read([int(self._indices[index])]))

    def __iter__(self) -> Iterator[Sample]:
        return self._annotations.read(self._indices.tolist())

    def __repr__(self) -> str:
        return f"Dataset({str(self.root)!r}, layout={self.layout!r}, {len(self)} samples)"

    @property
    def ids(self) -> list[str]:
        """The id of each sample, in order; nothing is read from disk."""
        return [self._annotations.ids[index] for index in self._indices.tolist()]

    @property
    def splits(self) -> Mapping[str, int]:
        """How many samples each split has here, in order of first appearance."""
        codes = np.array(self._annotations.split_codes, dtype=np.int32)[self._indices]
        counts = Counter(codes.tolist())
        return MappingProxyType({self._annotations.split_names[code]: n for code, n in counts.items()})

    def split(self, name: str) -> Dataset:
        """The samples of one split. DataError names the splits there are."""
        names = self._annotations.split_names
        codes = np.array(self._annotations.split_codes, dtype=np.int32)[self._indices]
        chosen = self._indices[codes == names.index(name)] if name in names else self._indices[:0]
        if not len(chosen):
            known = ", ".join(f'"{each}" ({n})' for each, n in self.splits.items()) or "none"
            raise DataError(f'{self.root}: there is no split "{name}"{nearest(name, self.splits)}; there are: {known}')
        return self._view(chosen)

    def by_id(self, id: str) -> Sample:
        """The sample with this id. DataError when there is none here."""
        if self._places is None:
            self._places = {each: place for place, each in enumerate(self.ids)}
        if id not in self._places:
            raise DataError(f'{self.root}: there is no sample with id "{id}"')
        return self[self._places[id]]

    def _view(self, indices: np.ndarray) -> Dataset:
        return Dataset(self.root, self.vocabulary, self._annotations, indices)


def ids_of(samples: Sequence[Sample]) -> list[str]:
    """The ids of samples, which a Dataset knows without reading them."""
    return samples.ids if isinstance(samples, Dataset) else [sample.id for sample in samples]


def find_layout(path: Path) -> tuple[Path, Layout]:
    """(dataset folder, layout) of a folder, or of a file: the one in it that says so, or one in the format of a plugin.

    DataError says what was looked for.
    """
    if (own := plugin_layout(path)) is not None:
        return path.parent, own
    markers = [layout.marker for layout in LAYOUTS.values()]
    with reading(path):
        is_folder = path.is_dir()
        if not is_folder and not path.exists():
            raise DataError(f"{path}: does not exist; name a dataset folder")
    if not is_folder:
        for layout in LAYOUTS.values():
            if path.name == layout.marker:
                return path.parent, layout
        raise DataError(f"{path}: is not a dataset; name a folder that holds {' or '.join(markers)}")
    layouts = [layout for layout in LAYOUTS.values() if (path / layout.marker).exists()]
    if len(layouts) > 1:
        both = " and ".join(layout.marker for layout in layouts)
        raise DataError(f"{path}: holds both {both}; name the one that is meant, or move the other away")
    if not layouts:
        raise DataError(f"{path}: is not a dataset: it holds neither {' nor '.join(markers)}")
    return path, layouts[0]


def open_dataset(path: str | Path, split: str | None = None) -> Dataset:
    """Open a dataset folder, or a file in the format of a plugin; or one split of it.

    One of another layout than jsonl is imported.

    Every row is checked once now, so that a long job does not trip over it later; unknown keys are ignored
    (`check_dataset` reports them). Images are not touched.

    Raises:
        DataError: names the file and line of the first row that cannot be used, or what is missing.
    """
    root, layout = find_layout(Path(os.path.abspath(path)))
    vocabulary = read_vocabulary(root / VOCABULARY) if (root / VOCABULARY).exists() else None
    reader = RowReader(root, vocabulary)
    annotations = layout.open(root, reader)
    if not len(annotations):
        raise DataError(f"{root}: the dataset has no samples")
    if vocabulary is None and reader.terms_used:
        raise DataError(
            f"{root / VOCABULARY}: is missing, but samples have terms; write it with one line a term, such as"
            ' "geoboard: {category: board}"'
        )
    if vocabulary is not None:
        with reading(root / VOCABULARY):
            named = file_digest(root / VOCABULARY)
        annotations.fingerprint = hashlib.sha256(f"{annotations.fingerprint} {named}".encode()).hexdigest()
    annotations.fingerprint = annotations.fingerprint[:16]
    dataset = Dataset(root, vocabulary if vocabulary is not None else Vocabulary({}), annotations)
    return dataset if split is None else dataset.split(split)
