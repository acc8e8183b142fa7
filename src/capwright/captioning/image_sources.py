"""Which images a command line means: files, folders, datasets and lists of samples, each with an id."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from capwright.types import DataError, Sample

#: Names of files in a folder that are taken for images; what they really are decides when they are opened.
SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "bmp", "dib", "tif", "tiff", "ppm", "pgm", "jp2", "avif"),
        *("ico", "tga", "mpo", "heic", "heif"),
    )
)
DATASET_FILES = ("samples.jsonl", "captions.json")


def find_images(sources: Sequence[Path], split: str | None = None) -> Sequence[Sample]:
    """The samples that the sources name, in order, each id once.

    A dataset folder (or its samples file) gives its samples with their ids; any other folder gives the images in it
    and below, sorted, with their path inside the folder as id; another .jsonl file gives the samples of its rows (`id`
    and `image`, relative to the file); any other file is an image with its path as id. When several folders are named,
    ids start with the folder as it was given.

    Raises:
        DataError: a source does not exist or holds no image, or two different images have one id.
    """
    alone = len(sources) == 1
    found = [_samples_of(source, split, "" if alone else f"{source.as_posix()}/") for source in sources]
    if alone and not isinstance(found[0], list):
        return found[0]  # a dataset, which reads a sample when it is asked for
    return _unique(sample for samples in found for sample in samples)


def _samples_of(source: Path, split: str | None, prefix: str) -> Sequence[Sample]:
    from capwright.data import open_dataset
    from capwright.data.formats.from_plugin import has_plugin

    if not source.exists():
        raise DataError(f"{source}: does not exist; name an image, a folder of images, or a dataset")
    if (
        source.name in DATASET_FILES
        or has_plugin(source)
        or (source.is_dir() and any((source / name).is_file() for name in DATASET_FILES))
    ):
        return open_dataset(source, split)
    if split is not None:
        raise DataError(f"{source}: has no splits, it is not a dataset; leave --split out")
    if source.is_dir():
        return _walk(source, prefix)
    if source.suffix.lower() == ".jsonl":
        return list(_rows(source))
    return [Sample(source.as_posix(), source)]


def _walk(folder: Path, prefix: str) -> list[Sample]:
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            path = Path(place) / name
            if path.suffix.lower() in SUFFIXES and not name.startswith("."):
                found.append(Sample(prefix + path.relative_to(folder).as_posix(), path))
    if not found:
        raise DataError(f"{folder}: holds no images ({', '.join(sorted(SUFFIXES))})")
    return sorted(found, key=lambda sample: sample.id)


def _rows(path: Path) -> Iterator[Sample]:
    from capwright.data.formats.jsonl import parsed_rows
    from capwright.data.sample_rows import RowReader, refuse, strict

    reader = RowReader(path.parent, None)
    for number, _, row in parsed_rows(path, refuse):
        sample = reader.read(row, strict(lambda key, number=number: f"{path}:{number}"))  # type: ignore[misc]
        if sample is not None:
            yield sample


def _unique(samples: Iterable[Sample]) -> list[Sample]:
    found: dict[str, Sample] = {}
    for sample in samples:
        other = found.setdefault(sample.id, sample)
        if other.images != sample.images:
            raise DataError(
                f'two images have the id "{sample.id}": {other.image} and {sample.image}; caption them into two files'
            )
    if not found:
        raise DataError("there are no images to caption")
    return list(found.values())
