"""Everything that is wrong with a dataset, said at once, each with file and line."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from capwright.data.dataset import VOCABULARY, find_layout
from capwright.data.files import file_digest, read_text
from capwright.data.images import image_size, load_image
from capwright.data.inflection import OtherForms
from capwright.data.near_duplicates import PIXELS, ImageComparer, image_hash, near_pairs
from capwright.data.sample_rows import Complain, RowReader, Where
from capwright.data.text_checks import troubles
from capwright.data.vocabulary import parse_vocabulary, shared_names
from capwright.types import DataError, ImageError, Sample, Vocabulary

#: A side shorter than this cannot show anything.
_TINY = 8
#: Splits that a run needs, unless its recipe names others.
_SPLITS = {
    "train": "training needs one",
    "val": 'a run is measured on it; mark samples that it shall not learn from with "split": "val"',
}
#: References that are looked through for forms of names.
_FIRST = 20_000
_THREADS = min(8, os.cpu_count() or 1)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        severity: "error" (the dataset cannot be used as it is) or "warning" (it can, but look at it).
        file: where, relative to the dataset folder.
        line: line number from 1, None when the whole file is meant.
        message: what is wrong and what to do.
    """

    severity: str
    file: str
    line: int | None
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.severity}: {self.message}"


@dataclass(frozen=True, slots=True)
class Check:
    """What `check_dataset` found: problems by file and line, and how many samples could be read."""

    problems: tuple[Problem, ...]
    samples: int

    @property
    def usable(self) -> bool:
        """Whether there is no error (warnings do not count)."""
        return not any(problem.severity == "error" for problem in self.problems)


def check_dataset(path: str | Path, progress: Callable[[int, int], None] | None = None) -> Check:
    """Look at every row and every image of a dataset; report all problems, in the order of files and lines.

    Errors: what `open_dataset` refuses (malformed rows, ids used twice, terms outside the vocabulary, no vocabulary
    although there are terms), missing or broken images, image paths that leave the folder by "..", captions
    that are empty or hold control characters, answers that are no option, boxes without area, the same image in
    two splits.
    Warnings: unknown keys, near duplicates of an image in two splits, tiny images, very long captions, invisible
    characters, boxes beyond the image, names that two terms share, names in forms that are not found, no "train" split,
    no "val" split.

    Memory holds some hundred bytes a sample and never more than a few images.

    Args:
        path: a dataset folder, or a file in the format of a plugin; one that does not exist is a problem to report, not
            an exception.
        progress: called with (images done, images).
    """
    given = Path(os.path.abspath(path))
    notes = _Notes(given)
    try:
        root, layout = find_layout(given)
    except DataError as error:
        notes.raised(error, given)
        return notes.check(0)
    notes.root = root
    images = _ImageFiles(notes)
    splits: Counter[str] = Counter()
    vocabulary = _read_vocabulary(root, notes)
    reader, forms = RowReader(root, vocabulary), OtherForms(vocabulary or Vocabulary({}))
    main = root / layout.marker
    try:
        for row, where in layout.rows(root, notes.add):
            complain = notes.at(where)
            sample = reader.read(row, complain)
            if sample is not None:
                splits[sample.split] += 1
                _check_sample(sample, row, root, complain)
                for text in sample.references if forms.looked_at < _FIRST else ():
                    forms.add(text)
                images.add(sample, *where("image"))
    except DataError as error:
        notes.raised(error, main)
    if not splits and not notes.about(main):
        notes.add("error", main, None, "the dataset has no samples")
    elif splits:
        names = ", ".join(f'"{name}"' for name in splits)
        for name, purpose in _SPLITS.items():
            if name not in splits:
                notes.add("warning", main, None, f'there is no split "{name}" (there are: {names}); {purpose}')
    if message := forms.describe("references"):
        notes.add("warning", root / VOCABULARY, None, message)
    if not (root / VOCABULARY).exists():
        severity, message = "warning", "is missing; without terms nothing can be named right or wrong"
        if reader.terms_used:
            severity = "error"
            message = 'is missing, but samples have terms; write it with one line a term, such as "geoboard:"'
        notes.add(severity, root / VOCABULARY, None, message)
    images.look(progress)
    images.compare(splits)
    return notes.check(splits.total())


class _Notes:
    """Gathers problems."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._problems: list[Problem] = []

    def add(self, severity: str, file: Path, line: int | None, message: str) -> None:
        name = file.relative_to(self.root).as_posix() if file.is_relative_to(self.root) else str(file)
        self._problems.append(Problem(severity, str(file) if name == "." else name, line, message))

    def about(self, file: Path) -> bool:
        """Whether there is a problem in `file`."""
        return any(problem.file == file.name for problem in self._problems)

    def at(self, where: Where) -> Complain:
        """`add` for the keys of one row."""
        return lambda severity, key, message: self.add(severity, *where(key), message)

    def raised(self, error: DataError, file: Path) -> None:
        """A DataError that ended the reading of a file; its text starts with the file it is about."""
        found = re.match(r"(?P<file>/.*?|[A-Za-z]:.*?)(?::(?P<line>\d+))?: (?P<what>.*)", str(error), re.DOTALL)
        if found:
            self.add("error", Path(found["file"]), int(found["line"]) if found["line"] else None, found["what"])
        else:
            self.add("error", file, None, str(error))

    def check(self, samples: int) -> Check:
        return Check(tuple(sorted(self._problems, key=lambda p: (p.file, p.line or 0))), samples)


def _read_vocabulary(root: Path, notes: _Notes) -> Vocabulary | None:
    path = root / VOCABULARY
    if not path.exists():
        return None
    broken = False

    def note(line: int | None, message: str) -> None:
        nonlocal broken
        broken = broken or "valid YAML" in message
        notes.add("error", path, line, message)

    try:
        vocabulary = parse_vocabulary(read_text(path), note)
    except DataError as error:
        notes.raised(error, path)
        return None
    for word, names in shared_names(vocabulary).items():
        owners = " and ".join(f'"{name}"' for name in names)
        notes.add("warning", path, None, f'"{word}" stands for {owners}; a caption that says it cannot be told apart')
    return None if broken else vocabulary


def _check_sample(sample: Sample, row: dict[str, Any], root: Path, complain: Complain) -> None:
    for i, text in enumerate(sample.references):
        for severity, message in troubles(text):
            complain(severity, "references", f"references[{i}] {message}")
    for given, image in zip(row.get("images") or [row["image"]], sample.images):
        if not os.path.isabs(given) and not Path(os.path.normpath(image)).is_relative_to(root):
            complain(
                "error", "image", f'the image "{given}" is outside the dataset folder; copy it in or give its full path'
            )
    for image, count in Counter(sample.images).items():
        if count > 1:
            complain("warning", "image", f"{image}: is given {count} times in one sample; once is enough")
    for name, count in Counter(term.name for term in sample.terms).items():
        if count > 1:
            complain("warning", "terms", f'the term "{name}" is given {count} times; it counts once')
    for i, question in enumerate(sample.questions):
        if question.options and question.answer and question.answer not in question.options:
            complain("error", "questions", f'questions[{i}]: the answer "{question.answer}" is not one of its options')
    for i, region in enumerate(sample.regions):
        left, top, right, bottom = region.box
        if right <= left or bottom <= top:
            complain("error", "regions", f"regions[{i}].box has no area; it must be left, top, right, bottom")


@dataclass(slots=True)
class _ImageFile:
    path: str  # a Path would be the larger part of what a sample takes in memory
    split: str
    file: Path
    line: int | None
    reach: tuple[float, float] = (0.0, 0.0)  # right and bottom edge of its regions
    hash: bytes = b""  # "" where it cannot be read


@dataclass(frozen=True, slots=True)
class _Look:
    """What one look at an image gives; `trouble` instead of the rest when it cannot be read."""

    trouble: str = ""
    digest: bytes = b""
    hash: bytes = b""
    size: tuple[int, int] = (0, 0)


class _ImageFiles:
    """The distinct images of a dataset: are they good, and do splits share any?"""

    def __init__(self, notes: _Notes) -> None:
        self._notes = notes
        self._images: list[_ImageFile] = []
        self._known: dict[str, int] = {}
        self._again: dict[int, list[_ImageFile]] = {}  # further rows that name an image
        self._shared: set[int] = set()

    def add(self, sample: Sample, file: Path, line: int | None) -> None:
        for path in sample.images:
            self._add(_ImageFile(os.path.normpath(path), sys.intern(sample.split), file, line))
        if sample.regions:
            first = self._images[self._known[os.path.normpath(sample.image)]]
            right, bottom = (max(region.box[edge] for region in sample.regions) for edge in (2, 3))
            first.reach = max(first.reach[0], right), max(first.reach[1], bottom)

    def _add(self, image: _ImageFile) -> None:
        at = self._known.setdefault(image.path, len(self._images))
        if at == len(self._images):
            self._images.append(image)
            return
        self._again.setdefault(at, []).append(image)
        first = self._images[at]
        if first.split != image.split:
            self._note_shared("error", image, "the same image", first)

    def look(self, progress: Callable[[int, int], None] | None) -> None:
        """Decode every image once; note what is broken and files with the same bytes in two splits."""
        firsts: dict[bytes, int] = {}
        for index, look in enumerate(_in_order(self._images)):
            image = self._images[index]
            if look.trouble:
                for row in (image, *self._again.get(index, ())):
                    self._note("error", row, look.trouble)
            else:
                self._note_size(image, look)
                image.hash = look.hash
                first = self._images[firsts.setdefault(look.digest, index)]
                if first.split != image.split:
                    self._shared.add(index)
                    self._note_shared("error", image, "the same image", first)
            if progress is not None:
                progress(index + 1, len(self._images))

    def compare(self, splits: Counter[str]) -> None:
        """Note images of smaller splits that are nearly the same as one of a larger split."""
        rank = {name: i for i, (name, _) in enumerate(splits.most_common())}
        indices = [index for index, image in enumerate(self._images) if image.hash]
        if len({self._images[i].split for i in indices}) < 2:
            return
        hashes = np.frombuffer(b"".join(self._images[i].hash for i in indices), dtype=np.uint8).reshape(
            len(indices), -1
        )
        ranks = np.array([rank[self._images[i].split] for i in indices])
        comparer = ImageComparer()
        for at, neighbors in near_pairs(hashes, ranks):
            image = self._images[indices[at]]
            if indices[at] in self._shared:
                continue
            for neighbor in neighbors:
                other = self._images[indices[neighbor]]
                if indices[neighbor] not in self._shared and comparer.same(image.path, other.path):
                    self._note_shared("warning", image, "nearly the same image", other)
                    break

    def _note(self, severity: str, image: _ImageFile, message: str) -> None:
        self._notes.add(severity, image.file, image.line, message)

    def _note_shared(self, severity: str, image: _ImageFile, what: str, other: _ImageFile) -> None:
        place = f"{other.file.name}:{other.line}" if other.line else other.file.name
        where = f'{what} is in the split "{other.split}" ({place})'
        self._note(severity, image, f'{where}, so "{image.split}" does not test anything new; keep it in one split')

    def _note_size(self, image: _ImageFile, look: _Look) -> None:
        width, height = look.size
        if min(look.size) < _TINY:
            self._note("warning", image, f"{image.path}: is only {width} x {height} pixels")
        right, bottom = image.reach
        if right > width + 1 or bottom > height + 1:
            reach = f"a region reaches to ({right:g}, {bottom:g})"
            self._note("warning", image, f"{reach}, but the image is {width} x {height}; boxes must be in its pixels")


def _in_order(images: list[_ImageFile]) -> Iterator[_Look]:
    """A look at each image, some at a time on threads, in order."""
    with ThreadPoolExecutor(_THREADS) as pool:
        left = iter(images)
        while batch := list(islice(left, 16 * _THREADS)):
            yield from pool.map(_look_at, batch)


def _look_at(file: _ImageFile) -> _Look:
    try:
        pixels = load_image(file.path, max_pixels=PIXELS)
        size = image_size(file.path)
        digest = bytes.fromhex(file_digest(Path(file.path)))[:16]
    except ImageError as error:
        return _Look(trouble=str(error))
    except OSError as error:
        return _Look(trouble=f"{file.path}: cannot be read: {error.strerror}")
    return _Look(digest=digest, hash=image_hash(pixels).tobytes(), size=size)
