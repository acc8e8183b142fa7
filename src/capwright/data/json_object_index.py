"""A file that is one big JSON object, read entry by entry: only where each entry stands is kept."""

from __future__ import annotations

import codecs
import hashlib
import json
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from capwright.data.files import BOM, DECODER, json_trouble, not_utf8, parse_json, reading
from capwright.data.ids import id_hash
from capwright.types import DataError

_CHUNK = 1 << 18
_SPACE = " \t\r\n"


class ObjectEntry(NamedTuple):
    """`key`: `value` of the object; `offset` and `length` in bytes of both together, `line` of the key."""

    key: str
    value: Any
    offset: int
    length: int
    line: int


class _Window:
    """A sliding piece of decoded text that knows its byte offset and line number."""

    def __init__(self, path: Path, handle: BinaryIO) -> None:
        self.path = path
        self.text = ""
        self.at = 0
        self.line = 1
        self.bytes_before = 0  # of text[:at]
        self.ended = False
        self._handle = handle
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._first = True
        self._size = _CHUNK

    def more(self) -> None:
        """Read on; what was passed is dropped."""
        with reading(self.path):
            data = self._handle.read(self._size + len(BOM) * self._first)
        self._size = max(_CHUNK, len(self.text) - self.at)  # doubles under one long entry, so the work stays linear
        if self._first:
            self._first = False
            if data.startswith(BOM):
                data = data[len(BOM) :]
                self.bytes_before = len(BOM)
        try:
            self.text = self.text[self.at :] + self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            line = self.line + self.text.count("\n", self.at) + error.object[: error.start].count(b"\n")
            raise DataError(f"{self.path}:{line}: {not_utf8(error.object, error)}") from error
        self.at = 0
        self.ended = not data

    def move(self, to: int) -> None:
        """Go forward to `to`."""
        passed = self.text[self.at : to]
        self.bytes_before += len(passed) if passed.isascii() else len(passed.encode("utf-8"))
        self.line += passed.count("\n")
        self.at = to

    def peek(self) -> str:
        """Skip white space; the next character, or '' at the end."""
        while True:
            end = self.at
            while end < len(self.text) and self.text[end] in _SPACE:
                end += 1
            self.move(end)
            if end < len(self.text):
                return self.text[end]
            if self.ended:
                return ""
            self.more()

    def expect(self, character: str, why: str) -> None:
        if self.peek() != character:
            raise self.wrong(why)
        self.move(self.at + 1)

    def value(self) -> tuple[Any, int]:
        """Parse one JSON value: (value, byte offset)."""
        self.peek()
        while True:
            try:
                value, end = DECODER.raw_decode(self.text, self.at)
            except json.JSONDecodeError as error:
                if not self.ended:
                    self.more()
                    continue
                self.move(min(error.pos, len(self.text)))
                raise self.wrong(json_trouble(error)) from error
            except (ValueError, RecursionError) as error:
                text = "nested too deeply" if isinstance(error, RecursionError) else str(error)
                raise self.wrong(text) from error
            if end == len(self.text) and not self.ended:
                self.more()  # a number at the edge may go on
                continue
            offset = self.bytes_before
            self.move(end)
            return value, offset

    def wrong(self, why: str) -> DataError:
        return DataError(f"{self.path}:{self.line}: not valid JSON: {why}; correct the file")


def entries(path: Path) -> Iterator[ObjectEntry]:
    """The entries of a file that is one JSON object, in file order; holds one entry at a time.

    Raises:
        DataError: names the file and line where it stops being one JSON object in UTF-8.
    """
    with reading(path):
        handle = open(path, "rb")  # noqa: SIM115
    with handle:
        window = _Window(path, handle)
        window.expect("{", "the file must be one object, such as {id: ...}")
        for _ in _items(window, "}"):
            if window.peek() != '"':
                raise window.wrong("expected an id in double quotes (is there a comma too many?)")
            line = window.line
            key, offset = window.value()
            window.expect(":", f'expected ":" after "{key}"')
            value, _ = window.value()
            yield ObjectEntry(key, value, offset, window.bytes_before - offset, line)


def elements(path: Path) -> Iterator[tuple[int, Any]]:
    """(line, value) of the elements of a file that is one JSON list; holds one at a time. Raises as `entries`."""
    with reading(path):
        handle = open(path, "rb")  # noqa: SIM115
    with handle:
        window = _Window(path, handle)
        window.expect("[", "the file must be one list, such as [id, ...]")
        for _ in _items(window, "]"):
            window.peek()
            line = window.line
            value, _ = window.value()
            yield line, value


def _items(window: _Window, closing: str) -> Iterator[None]:
    """Yield before each item of an open list or object, then take what stands between items and at the end."""
    if window.peek() != closing:
        yield
        while window.peek() != closing:
            window.expect(",", f'expected "," or "{closing}"')
            yield
    window.move(window.at + 1)
    if window.peek():
        raise window.wrong(f'there is more after the closing "{closing}"')


class EntryFile:
    """Where each entry of such a file stands, by hashed key. A file that does not exist has no entries.

    Attributes:
        hashes: `ids.id_hash` of each key, in file order.
        lines: line number of each key.
        digest: SHA-256 of the file's bytes in hex.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.hashes = array("Q")
        self.lines = array("q")
        self._offsets = array("q")
        self._lengths = array("q")
        self.digest = ""
        if not path.exists():
            return
        for entry in entries(path):
            self.hashes.append(id_hash(entry.key))
            self.lines.append(entry.line)
            self._offsets.append(entry.offset)
            self._lengths.append(entry.length)
        with reading(path), open(path, "rb") as handle:
            digest = hashlib.sha256()
            while block := handle.read(1 << 20):
                digest.update(block)
        self.digest = digest.hexdigest()

    def __len__(self) -> int:
        return len(self.hashes)

    def entry(self, index: int) -> tuple[str, Any]:
        """(key, value) of entry `index`, read from the disk. ValueError when the file is not what was indexed."""
        with reading(self.path), open(self.path, "rb") as handle:
            handle.seek(self._offsets[index])
            found = parse_json(b"{" + handle.read(self._lengths[index]) + b"}")
        for key, value in found.items():
            if id_hash(key) == self.hashes[index]:
                return key, value
        raise ValueError("the file changed")
