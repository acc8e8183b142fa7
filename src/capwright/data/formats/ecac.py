"""Layout "ecac": the files that the ECAC teaching-toy dataset announces (arXiv 2604.01941).

Its README names `captions.json`, `toy_labels.json`, `region_labels.json`, `splits/` and `images/`, but the dataset is
not public and neither is what stands in them. The contents here are our own reading:

    captions.json        {id: {"image": "images/1.jpg", "captions": [text, ...]}}    which samples there are, in order
    toy_labels.json      {id: [{"name": "geoboard", "level": "professional"}, ...]}
    region_labels.json   {id: [{"box": [left, top, right, bottom], "label": text, "caption": text}, ...]}
    splits/NAME.json     [id, ...], or splits/NAME.txt with one id a line
    meta.json            {id: {"questions": [...], "meta": {...}}}      ours: what ECAC has no place for
    vocabulary.yaml      ours, as in the jsonl layout

Only captions.json must be there. An image without a folder is looked for in images/. Without a `splits` folder every
sample is in "train"; with one, a sample that no file lists is in the split "unassigned". Names of splits are
percent-encoded where a file name could not hold them.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from capwright.data.files import Replacement, dump_json, lines, nearest, not_utf8, writing
from capwright.data.ids import Finder, repeated
from capwright.data.json_object_index import EntryFile, elements
from capwright.data.sample_rows import RowReader, strict, to_row
from capwright.types import DataError, Sample

CAPTIONS = "captions.json"
TOYS = "toy_labels.json"
REGIONS = "region_labels.json"
META = "meta.json"
SPLITS = "splits"
UNASSIGNED = "unassigned"

#: Which file holds a key of a row; the others are in captions.json.
FILE_OF = {"terms": TOYS, "regions": REGIONS, "questions": META, "meta": META}

#: note(severity, file, line or None, message).
EcacNote = Callable[[str, Path, "int | None", str], None]


def refuse(severity: str, file: Path, line: int | None, message: str) -> None:
    """A `EcacNote` that raises DataError on errors."""
    if severity == "error":
        raise DataError(f"{file}:{line}: {message}" if line else f"{file}: {message}")


class Files:
    """The annotation files of one ECAC folder, indexed and joined by id. `note` hears of what does not fit together."""

    def __init__(self, root: Path, note: EcacNote) -> None:
        self.root = root
        self.captions = EntryFile(root / CAPTIONS)
        self.hashes = self.captions.hashes
        for first, later in repeated(self.hashes):
            where = self.captions.lines[first]
            note(
                "error",
                self.captions.path,
                self.captions.lines[later],
                f"the id was used on line {where}; ids must be unique",
            )
        finder = Finder(self.hashes)
        self._others: dict[str, EntryFile] = {}
        self._joined: dict[str, array[int]] = {}
        for name in (TOYS, REGIONS, META):
            self._join(name, finder, note)
        self.split_names: list[str] = []
        self.split_codes = array("i", [-1]) * len(self.hashes)
        self._read_splits(finder, note)

    def __len__(self) -> int:
        return len(self.hashes)

    def fingerprint(self) -> str:
        digest = hashlib.sha256(self.captions.digest.encode())
        for file in self._others.values():
            digest.update(f"{file.path.name} {file.digest}\n".encode())
        for name in self.split_names:
            digest.update(name.encode() + b"\n")
        digest.update(self.split_codes.tobytes())
        return digest.hexdigest()

    def row(self, index: int, note: EcacNote = refuse) -> Any:
        """The merged row of sample `index`, in the form of the jsonl layout; `note` hears of unknown keys.

        ValueError when a file is not what was indexed.
        """
        identity, entry = self.captions.entry(index)
        if not isinstance(entry, dict):
            return entry
        row: dict[str, Any] = {"id": identity, "split": self.split_names[self.split_codes[index]]}
        self._take(row, entry, {"image": "image", "captions": "references"}, self.where(index, "image"), note)
        image = row.get("image")
        if isinstance(image, str) and image and "/" not in image and "\\" not in image:
            row["image"] = f"images/{image}"
        for name, key in ((TOYS, "terms"), (REGIONS, "regions")):
            at = self._joined[name][index]
            if at >= 0:
                row[key] = self._others[name].entry(at)[1]
        at = self._joined[META][index]
        if at >= 0:
            extra = self._others[META].entry(at)[1]
            if isinstance(extra, dict):
                self._take(row, extra, {"questions": "questions", "meta": "meta"}, self.where(index, "meta"), note)
            else:
                row["meta"] = extra
        return row

    def _take(
        self, row: dict[str, Any], entry: dict[str, Any], names: dict[str, str], place: tuple[Path, int], note: EcacNote
    ) -> None:
        """Copy the known keys of an entry to the row, under the row's names."""
        for key, value in entry.items():
            if key in names:
                row[names[key]] = value
            else:
                note("warning", *place, f'unknown key "{key}" is ignored{nearest(key, names)}')

    def where(self, index: int, key: str) -> tuple[Path, int]:
        """File and line of what gave `key` of the row of sample `index`."""
        name = FILE_OF.get(key, CAPTIONS)
        at = self._joined[name][index] if name in self._joined else -1
        if at >= 0:
            return self._others[name].path, self._others[name].lines[at]
        return self.captions.path, self.captions.lines[index]

    def place(self, index: int, key: str) -> str:
        """The same as "file:line"."""
        file, line = self.where(index, key)
        return f"{file}:{line}"

    def _join(self, name: str, finder: Finder, note: EcacNote) -> None:
        file = EntryFile(self.root / name)
        self._others[name] = file
        for first, later in repeated(file.hashes):
            note(
                "error",
                file.path,
                file.lines[later],
                f"the id was used on line {file.lines[first]}; merge the two entries",
            )
        for at in (finder.find_all(file.hashes) < 0).nonzero()[0]:
            note(
                "error", file.path, file.lines[int(at)], f"the id is not in {CAPTIONS}; correct it or remove the entry"
            )
        joined = array("q")
        joined.frombytes(Finder(file.hashes).find_all(self.hashes).tobytes())
        self._joined[name] = joined

    def _read_splits(self, finder: Finder, note: EcacNote) -> None:
        folder = self.root / SPLITS
        if not folder.is_dir():
            self.split_names = ["train"] if len(self) else []
            self.split_codes = array("i", [0]) * len(self)
            return
        files = sorted(
            path for path in folder.iterdir() if path.suffix in (".json", ".txt") and not path.name.startswith(".")
        )
        for path in files:
            name = unquote(path.stem)
            if name in self.split_names:
                note("error", path, None, f'the split "{name}" has both a .json and a .txt file; remove one')
                continue
            code = len(self.split_names)
            self.split_names.append(name)
            for line, id in _split_ids(path, note):
                index = finder.find(id)
                if index < 0:
                    note("error", path, line, f'the id "{id}" is not in {CAPTIONS}; correct it or remove it')
                elif self.split_codes[index] == code:
                    note("warning", path, line, f'the id "{id}" is listed twice')
                elif self.split_codes[index] >= 0:
                    other = self.split_names[self.split_codes[index]]
                    note("error", path, line, f'"{id}" is also in the split "{other}"; keep it in one')
                else:
                    self.split_codes[index] = code
        if any(code < 0 for code in self.split_codes):
            code = self.split_names.index(UNASSIGNED) if UNASSIGNED in self.split_names else len(self.split_names)
            missing = sum(code < 0 for code in self.split_codes)
            if code == len(self.split_names):
                self.split_names.append(UNASSIGNED)
            note(
                "warning", folder, None, f'{missing} samples are in no split file; they are in the split "{UNASSIGNED}"'
            )
            self.split_codes = array("i", [code if each < 0 else each for each in self.split_codes])


def _split_ids(path: Path, note: EcacNote) -> Iterator[tuple[int, str]]:
    """(line, id) of a split file."""
    if path.suffix == ".txt":
        for line, _, data in lines(path):
            try:
                yield line, data.decode("utf-8").strip()
            except UnicodeDecodeError as error:
                note("error", path, line, not_utf8(data, error))
        return
    for line, value in elements(path):
        if isinstance(value, (str, int)) and not isinstance(value, bool):
            yield line, str(value)
        else:
            note("error", path, line, "an id must be text")


class Ecac:
    """The annotations of an ECAC dataset: positions now, entries when asked for. See `dataset.Annotations`.

    Raises:
        DataError: names file and line of the first thing that cannot be used.
    """

    layout = "ecac"

    def __init__(self, root: Path, reader: RowReader) -> None:
        self._files = Files(root, refuse)
        self._reader = reader
        self.hashes = self._files.hashes
        self.split_names, self.split_codes = self._files.split_names, self._files.split_codes
        self.fingerprint = self._files.fingerprint()
        for index in range(len(self)):
            reader.read(self._files.row(index), strict(lambda key, index=index: self._files.place(index, key)))  # type: ignore[misc]

    def __len__(self) -> int:
        return len(self.hashes)

    def sample(self, index: int) -> Sample:
        try:
            sample = self._reader.read(self._files.row(index), strict(lambda key: self._files.place(index, key)))
        except (ValueError, DataError):
            sample = None
        if sample is None:
            raise DataError(
                f"{self._files.root}: the annotations changed since they were opened; open the dataset again"
            )
        return sample


def _file_name(split: str) -> str:
    name = quote(split, safe=" ")
    return f"%2E{name[1:]}" if name.startswith(".") else name


class EcacWriter:
    """Writes the annotation files, one entry a line; complete after `flush`, there after `commit`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files: dict[str, Replacement] = {}
        self._started: set[str] = set()

    def add(self, sample: Sample, images: Sequence[str]) -> None:
        where = f'sample "{sample.id}"'
        if len(images) > 1:
            raise DataError(f"{where}: has {len(images)} images, and the ecac layout holds one; choose layout jsonl")
        (image,) = images
        row = to_row(sample, images)
        caption = {"image": image if "/" in image else f"./{image}", "captions": row.get("references", [])}
        self._entry(CAPTIONS, sample.id, caption, where)
        if "terms" in row:
            self._entry(TOYS, sample.id, row["terms"], where)
        if "regions" in row:
            self._entry(REGIONS, sample.id, row["regions"], where)
        extra = {key: row[key] for key in ("questions", "meta") if key in row}
        if extra:
            self._entry(META, sample.id, extra, where)
        self._item(f"{SPLITS}/{_file_name(sample.split)}.json", dump_json(sample.id, where), b"[")

    def flush(self) -> None:
        for name in (TOYS, REGIONS):
            self._open(name, b"{")
        for name, file in self._files.items():
            file.write(b"\n]\n" if name.startswith(SPLITS) else b"\n}\n")
            file.flush()

    def commit(self) -> None:
        stale = [self._root / META, *(self._root / SPLITS).glob("*.json"), *(self._root / SPLITS).glob("*.txt")]
        for path in stale:
            with writing(path):
                path.unlink(missing_ok=True)
        for name in sorted(self._files, key=lambda name: name == CAPTIONS):
            self._files[name].commit()

    def discard(self) -> None:
        for file in self._files.values():
            file.discard()
        with suppress(OSError):
            (self._root / SPLITS).rmdir()

    def _open(self, name: str, opening: bytes) -> Replacement:
        if name not in self._files:
            path = self._root / name
            with writing(path):
                path.parent.mkdir(exist_ok=True)
            self._files[name] = Replacement(path)
            self._files[name].write(opening)
        return self._files[name]

    def _item(self, name: str, data: bytes, opening: bytes) -> None:
        file = self._open(name, opening)
        file.write((b",\n" if name in self._started else b"\n") + data)
        self._started.add(name)

    def _entry(self, name: str, id: str, value: Any, where: str) -> None:
        self._item(name, dump_json(id, where) + b": " + dump_json(value, where), b"{")
