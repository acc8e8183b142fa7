"""Writing a dataset: streamed, and there as a whole or not at all."""

from __future__ import annotations

import filecmp
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from capwright.data.dataset import VOCABULARY, Dataset
from capwright.data.files import file_digest, nearest, reason, writing
from capwright.data.formats import LAYOUTS, DatasetWriter
from capwright.data.vocabulary import write_vocabulary
from capwright.types import DataError, ImageError, Sample, Term, Vocabulary


def write_dataset(
    samples: Iterable[Sample],
    out: str | Path,
    vocabulary: Vocabulary | None = None,
    layout: str = "jsonl",
    images: str = "copy",
    overwrite: bool = False,
) -> Path:
    """Write samples as a dataset folder and return the folder.

    Samples are taken one at a time. The file that makes the folder a dataset appears last, so a run that is cut short
    leaves no half dataset; after an error what was copied is removed again.

    Args:
        samples: any iterable; ids must be unique.
        out: the folder; made when missing. Images that are in it already stay where they are.
        vocabulary: written as vocabulary.yaml. Without it, that of `samples` when they are a Dataset, else the terms
            found in the samples.
        layout: "jsonl" or "ecac" (which holds one image a sample).
        images: "copy" puts each image into `out/images` (a name that is taken by another image gets a suffix);
            "keep" stores where the image is, relative to `out` when inside it.
        overwrite: replace a dataset of the same layout that is in `out`.

    Raises:
        DataError: names the sample or path: a repeated id, a term that the vocabulary lacks, no samples, a dataset is
            there already, full disk, no permission.
        ImageError: an image that is to be copied is missing or cannot be read.
    """
    if layout not in LAYOUTS:
        known = " or ".join(f'"{name}"' for name in LAYOUTS)
        raise DataError(f'layout "{layout}" is not known{nearest(layout, LAYOUTS)}; choose {known}')
    if images not in ("copy", "keep"):
        raise DataError(f'images must be "copy" or "keep", not "{images}"')
    root = Path(os.path.abspath(out))
    _check_free(root, layout, overwrite)
    if vocabulary is None and isinstance(samples, Dataset):
        vocabulary = samples.vocabulary
    made = _make_folder(root)
    placed = _ImageFiles(root, copy=images == "copy")
    terms = _Terms(vocabulary)
    writer: DatasetWriter | None = None
    finished = False
    try:
        writer = LAYOUTS[layout].writer(root)
        seen: set[str] = set()
        for sample in samples:
            if sample.id in seen:
                raise DataError(f'sample "{sample.id}": the id was used before; ids must be unique')
            seen.add(sample.id)
            terms.add(sample)
            writer.add(_checked(sample), [placed.place(image, sample.id) for image in sample.images])
        if not seen:
            raise DataError(f"{out}: there are no samples to write")
        writer.flush()
        write_vocabulary(terms.vocabulary(), root / VOCABULARY)
        writer.commit()
        finished = True
    finally:
        if not finished:
            if writer is not None:
                writer.discard()
            placed.remove()
            if made is not None:
                shutil.rmtree(made, ignore_errors=True)
    return root


def _check_free(root: Path, layout: str, overwrite: bool) -> None:
    for name, each in LAYOUTS.items():
        if not (root / each.marker).exists():
            continue
        if name != layout:
            raise DataError(f"{root}: holds a dataset in the {name} layout; choose another folder")
        if not overwrite:
            raise DataError(f"{root}: holds a dataset already; choose another folder or remove it first")


def _make_folder(root: Path) -> Path | None:
    """Make `root`; the topmost folder that had to be made, None when it was there."""
    missing = None
    for folder in (root, *root.parents):
        if folder.exists():
            break
        missing = folder
    with writing(root):
        root.mkdir(parents=True, exist_ok=True)
    return missing


def _checked(sample: Sample) -> Sample:
    if not sample.id.strip() or not sample.split.strip():
        raise DataError(f'sample "{sample.id}": the id and the split must not be empty')
    return sample


class _Terms:
    """Checks the terms of samples against the vocabulary, or gathers them where there is none."""

    def __init__(self, vocabulary: Vocabulary | None) -> None:
        self._given = vocabulary
        self._found: dict[str, Term] = {}

    def add(self, sample: Sample) -> None:
        for term in sample.terms:
            if self._given is not None:
                if term.name not in self._given:
                    raise DataError(
                        f'sample "{sample.id}": the term "{term.name}" is not in the vocabulary'
                        f"{nearest(term.name, self._given)}; correct it or add it there"
                    )
                continue
            known = self._found.setdefault(term.name, term)
            if replace(known, level=term.level) != term:
                raise DataError(
                    f'sample "{sample.id}": the term "{term.name}" is described differently by an earlier sample; '
                    "give write_dataset a vocabulary"
                )

    def vocabulary(self) -> Vocabulary:
        return self._given if self._given is not None else Vocabulary(self._found)


class _ImageFiles:
    """Puts images where the dataset wants them, and takes back its copies when asked to."""

    def __init__(self, root: Path, copy: bool) -> None:
        self._root = root
        self._copy = copy
        self._copied: list[Path] = []
        self._made_folder = False

    def place(self, image: Path, id: str) -> str:
        """The path to store for an image of the sample `id`; copies it when needed."""
        source = Path(os.path.abspath(image))
        if source.is_relative_to(self._root):
            inside = source.relative_to(self._root)
        elif self._copy:
            inside = self._copy_in(source, id).relative_to(self._root)
        else:
            return source.as_posix()
        return inside.as_posix()

    def _copy_in(self, source: Path, id: str) -> Path:
        folder = self._root / "images"
        target = folder / source.name
        try:
            if not source.is_file():
                what = "is a folder, not an image" if source.is_dir() else "does not exist"
                raise ImageError(f'{source}: {what} (sample "{id}"); put the file there or correct the path')
            if target.exists() and not filecmp.cmp(source, target, shallow=False):
                target = folder / f"{source.stem}-{file_digest(source)[:12]}{source.suffix}"
            if target.exists():
                return target
        except OSError as error:
            raise ImageError(f'{source}: cannot be read (sample "{id}"): {reason(error)}') from error
        with writing(target):
            if not folder.exists():
                folder.mkdir()
                self._made_folder = True
        self._copied.append(target)
        _copy(source, target, id)
        return target

    def remove(self) -> None:
        for path in self._copied:
            with suppress(OSError):
                path.unlink()
        if self._made_folder:
            with suppress(OSError):
                (self._root / "images").rmdir()


def _copy(source: Path, target: Path, id: str) -> None:
    try:
        handle = open(source, "rb")  # noqa: SIM115
    except OSError as error:
        raise ImageError(f'{source}: cannot be read (sample "{id}"): {reason(error)}') from error
    with handle, writing(target), open(target, "wb") as copy:
        shutil.copyfileobj(handle, copy, 1 << 20)
