"""Layout "ecac": the files that the ECAC teaching-toy dataset announces (arXiv 2604.01941), imported and exported.

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
percent-encoded where a file name could not hold them. All files are read, and written, as a whole.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from capwright.data.files import Replacement, dump_json, file_digest, lines, nearest, not_utf8, writing
from capwright.data.formats.held import HeldSamples
from capwright.data.json_items import JsonText
from capwright.data.sample_rows import Note, RowReader, Where, refuse, strict, to_row
from capwright.types import DataError, Sample

CAPTIONS = "captions.json"
TOYS = "toy_labels.json"
REGIONS = "region_labels.json"
META = "meta.json"
SPLITS = "splits"
UNASSIGNED = "unassigned"

#: Which file holds a key of a row; the others are in captions.json.
FILE_OF = {"terms": TOYS, "regions": REGIONS, "questions": META, "meta": META}


def open_ecac(root: Path, reader: RowReader) -> HeldSamples:
    """The samples of an ECAC folder. DataError names file and line of the first thing that cannot be used."""
    files = EcacFiles(root, refuse)

    def sample(row: Any, where: Where) -> Sample:
        found = reader.read(row, strict(lambda key: "{}:{}".format(*where(key))))
        assert found is not None
        return found

    return HeldSamples("ecac", [sample(row, where) for row, where in files.rows()], files.fingerprint)


def ecac_rows(root: Path, note: Note) -> Iterator[tuple[Any, Where]]:
    """Every row with where its keys stand; `note` hears of what does not fit together, and of unknown keys."""
    return EcacFiles(root, note).rows()


class EcacFiles:
    """The annotation files of one ECAC folder, joined by id. `note` hears of what does not fit together.

    Attributes:
        fingerprint: of all that is in them, in hex.
    """

    def __init__(self, root: Path, note: Note) -> None:
        self._root = root
        self._note = note
        self._captions = self._read(CAPTIONS, "ids must be unique")
        ids = {id for _, id, _ in self._captions}
        self._joined: dict[str, dict[str, tuple[int, Any]]] = {}
        for name in (TOYS, REGIONS, META):
            entries = self._read(name, "merge the two entries")
            for line, id, _ in entries:
                if id not in ids:
                    note("error", root / name, line, f"the id is not in {CAPTIONS}; correct it or remove the entry")
            self._joined[name] = {id: (line, value) for line, id, value in reversed(entries)}
        names, self._splits = self._read_splits(ids)
        digest = hashlib.sha256(file_digest(root / CAPTIONS).encode())
        for name in self._joined:
            digest.update(f"{name} {file_digest(root / name) if (root / name).exists() else ''}\n".encode())
        digest.update("".join(f"{name}\n" for name in names).encode())
        digest.update(array("i", map(names.index, self._splits)).tobytes())
        self.fingerprint = digest.hexdigest()

    def rows(self) -> Iterator[tuple[Any, Where]]:
        """The joined rows in the form of the jsonl layout, each with where its keys stand."""
        for (line, id, entry), split in zip(self._captions, self._splits):
            found = {name: entries[id] for name, entries in self._joined.items() if id in entries}
            where = self._where({CAPTIONS: line} | {name: at for name, (at, _) in found.items()})
            yield self._row(id, split, entry, {name: value for name, (_, value) in found.items()}, where), where

    def _row(self, id: str, split: str, entry: Any, others: Mapping[str, Any], where: Where) -> Any:
        if not isinstance(entry, dict):
            return entry
        row: dict[str, Any] = {"id": id, "split": split}
        self._take(row, entry, {"image": "image", "captions": "references"}, where("image"))
        image = row.get("image")
        if isinstance(image, str) and image and "/" not in image and "\\" not in image:
            row["image"] = f"images/{image}"
        row |= {key: others[name] for name, key in ((TOYS, "terms"), (REGIONS, "regions")) if name in others}
        extra = others.get(META, {})
        if isinstance(extra, dict):
            self._take(row, extra, {"questions": "questions", "meta": "meta"}, where("meta"))
        else:
            row["meta"] = extra
        return row

    def _take(
        self, row: dict[str, Any], entry: dict[str, Any], names: dict[str, str], place: tuple[Path, int | None]
    ) -> None:
        """Copy the known keys of an entry to the row, under the row's names."""
        for key, value in entry.items():
            if key in names:
                row[names[key]] = value
            else:
                self._note("warning", *place, f'unknown key "{key}" is ignored{nearest(key, names)}')

    def _where(self, line_of: Mapping[str, int]) -> Where:
        def where(key: str) -> tuple[Path, int | None]:
            name = FILE_OF.get(key, CAPTIONS)
            name = name if name in line_of else CAPTIONS
            return self._root / name, line_of[name]

        return where

    def _read(self, name: str, remedy: str) -> list[tuple[int, str, Any]]:
        """(line, id, value) of a file; one that is not there has no entries."""
        path = self._root / name
        if not path.exists():
            return []
        entries = list(JsonText(path).entries())
        first: dict[str, int] = {}
        for line, id, _ in entries:
            if id in first:
                self._note("error", path, line, f"the id was used on line {first[id]}; {remedy}")
            first.setdefault(id, line)
        return entries

    def _read_splits(self, ids: Set[str]) -> tuple[list[str], list[str]]:
        """(names of splits, the split of each sample)."""
        folder = self._root / SPLITS
        if not folder.is_dir():
            return ["train"] if ids else [], ["train"] * len(self._captions)
        names: list[str] = []
        found: dict[str, str] = {}
        for path in sorted(folder.iterdir()):
            if path.suffix not in (".json", ".txt") or path.name.startswith("."):
                continue
            name = unquote(path.stem)
            if name in names:
                self._note("error", path, None, f'the split "{name}" has both a .json and a .txt file; remove one')
                continue
            names.append(name)
            for line, id in self._split_ids(path):
                if id not in ids:
                    self._note("error", path, line, f'the id "{id}" is not in {CAPTIONS}; correct it or remove it')
                elif id not in found:
                    found[id] = name
                elif found[id] == name:
                    self._note("warning", path, line, f'the id "{id}" is listed twice')
                else:
                    self._note("error", path, line, f'"{id}" is also in the split "{found[id]}"; keep it in one')
        missing = sum(id not in found for _, id, _ in self._captions)
        if missing:
            names += [UNASSIGNED] if UNASSIGNED not in names else []
            message = f'{missing} samples are in no split file; they are in the split "{UNASSIGNED}"'
            self._note("warning", folder, None, message)
        return names, [found.get(id, UNASSIGNED) for _, id, _ in self._captions]

    def _split_ids(self, path: Path) -> Iterator[tuple[int, str]]:
        """(line, id) of a split file."""
        if path.suffix == ".txt":
            for line, _, data in lines(path):
                try:
                    yield line, data.decode("utf-8").strip()
                except UnicodeDecodeError as error:
                    self._note("error", path, line, not_utf8(data, error))
            return
        for line, value in JsonText(path).elements():
            if isinstance(value, (str, int)) and not isinstance(value, bool):
                yield line, str(value)
            else:
                self._note("error", path, line, "an id must be text")


class EcacWriter:
    """Writes the annotation files, one entry a line; complete after `flush`, there after `commit`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lines: dict[str, list[bytes]] = {name: [] for name in (CAPTIONS, TOYS, REGIONS)}
        self._files: list[Replacement] = []

    def add(self, sample: Sample, images: Sequence[str]) -> None:
        where = f'sample "{sample.id}"'
        if len(images) > 1:
            raise DataError(f"{where}: has {len(images)} images, and the ecac layout holds one; choose layout jsonl")
        (image,) = images
        row = to_row(sample, images)
        caption = {"image": image if "/" in image else f"./{image}", "captions": row.get("references", [])}
        extra = {key: row[key] for key in ("questions", "meta") if key in row}
        id = dump_json(sample.id, where)
        for name, value in (
            (CAPTIONS, caption),
            (TOYS, row.get("terms")),
            (REGIONS, row.get("regions")),
            (META, extra),
        ):
            if value:
                self._lines.setdefault(name, []).append(id + b": " + dump_json(value, where))
        self._lines.setdefault(f"{SPLITS}/{_file_name(sample.split)}.json", []).append(id)

    def flush(self) -> None:
        for name, entries in sorted(self._lines.items(), key=lambda file: file[0] == CAPTIONS):
            path = self._root / name
            with writing(path):
                path.parent.mkdir(exist_ok=True)
            opening, closing = (b"[", b"]") if name.startswith(SPLITS) else (b"{", b"}")
            self._files.append(Replacement(path))
            first = b"\n" if entries else b""
            self._files[-1].write(opening + first + b",\n".join(entries) + b"\n" + closing + b"\n")
            self._files[-1].flush()

    def commit(self) -> None:
        stale = [self._root / META, *(self._root / SPLITS).glob("*.json"), *(self._root / SPLITS).glob("*.txt")]
        for path in stale:
            with writing(path):
                path.unlink(missing_ok=True)
        for file in self._files:
            file.commit()

    def discard(self) -> None:
        for file in self._files:
            file.discard()
        with suppress(OSError):
            (self._root / SPLITS).rmdir()


def _file_name(split: str) -> str:
    name = quote(split, safe=" ")
    return f"%2E{name[1:]}" if name.startswith(".") else name
