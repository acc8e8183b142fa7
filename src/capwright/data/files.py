"""Text on disk: read tolerantly, written all or nothing, and every failure says which file and what to do.

UTF-8 is the only encoding; a byte order mark, CRLF line ends and blank lines are accepted when reading. Lines end at
the line feed alone, so a U+2028 inside a caption does not cut a row in two.
"""

from __future__ import annotations

import difflib
import errno
import gc
import gzip
import hashlib
import json
import os
import re
import secrets
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

from capwright.types import DataError

BOM = b"\xef\xbb\xbf"
_SURROGATE = re.compile("[\ud800-\udfff]")


def reason(error: OSError) -> str:
    """What went wrong in the words of a person, with what to do about it where that is clear."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "the disk (or your quota) is full; free some space and try again"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "no permission; change its permissions or choose another folder"
    return (error.strerror or str(error) or type(error).__name__).lower()


@contextmanager
def reading(path: Path | str) -> Iterator[None]:
    """Turn an operating-system error, or a damaged archive, while reading `path` into a DataError that names it."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: the archive is cut off or damaged; copy or download it again") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {reason(error)}") from error


@contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Turn an operating-system error while writing `path` into a DataError that names it."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {reason(error)}") from error


@contextmanager
def without_collection() -> Iterator[None]:
    """No search for garbage meanwhile: millions of objects are made, and none of them is garbage (3 times as fast)."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class Replacement:
    """A file that appears under its name only when it is complete.

    Bytes go to a hidden neighbor; `commit` flushes it to the disk and renames it over `path`, `discard` removes it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
        with writing(path):
            self._handle: BinaryIO = open(self._temporary, "xb")  # noqa: SIM115

    def write(self, data: bytes) -> None:
        with writing(self.path):
            self._handle.write(data)

    def flush(self) -> None:
        """Bring everything to the disk and close; after this `commit` is only a rename."""
        with writing(self.path):
            if not self._handle.closed:
                self._handle.flush()
                os.fsync(self._handle.fileno())
                self._handle.close()

    def commit(self) -> None:
        self.flush()
        with writing(self.path):
            os.replace(self._temporary, self.path)

    def discard(self) -> None:
        with suppress(OSError):
            self._handle.close()
        with suppress(OSError):
            self._temporary.unlink()


def write_bytes(path: Path, data: bytes) -> None:
    """Write a small file all or nothing. A link stays a link, and a device or a pipe is written to, never replaced."""
    with writing(path):
        if path.exists() and not path.is_file() and not path.is_dir():
            with open(path, "wb") as handle:
                handle.write(data)
            return
    new = Replacement(path.resolve() if path.is_symlink() else path)
    try:
        new.write(data)
        new.commit()
    except BaseException:
        new.discard()
        raise


def not_utf8(data: bytes, error: UnicodeDecodeError) -> str:
    """Why `data` is not UTF-8, in the words of a person."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "this is UTF-16 text; save the file as UTF-8"
    return f"byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8"


def read_text(path: Path) -> str:
    """A whole (small) text file, unpacked where it is a gzip archive, without its byte order mark.

    DataError names the line of a byte that is not UTF-8.
    """
    with open_packed(path) as handle, reading(path):
        data = handle.read().removeprefix(BOM)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}:{line}: {not_utf8(data, error)}") from error


def file_digest(path: Path) -> str:
    """SHA-256 of the bytes of a file in hex. Raises OSError."""
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def open_packed(path: Path) -> BinaryIO:
    """Open a file to read its bytes; one that starts like a gzip archive is unpacked. Errors as `reading`."""
    with reading(path):
        handle = open(path, "rb")  # noqa: SIM115
        if handle.peek(2)[:2] != b"\x1f\x8b":
            return handle
        handle.close()
        return cast(BinaryIO, gzip.open(path, "rb"))


def lines(path: Path, opened: BinaryIO | None = None) -> Iterator[tuple[int, int, bytes]]:
    """(line number from 1, byte offset, line) of each line that is not blank; never holds more than one line.

    `opened` is the file at its start, where it is open already; it is closed at the end.
    """
    with reading(path):
        handle = opened or open(path, "rb")  # noqa: SIM115
    with handle:
        offset, number = 0, 0
        while True:
            with reading(path):
                line = handle.readline()
            if not line:
                return
            number += 1
            start, offset = offset, offset + len(line)
            if number == 1 and line.startswith(BOM):
                start, line = start + len(BOM), line[len(BOM) :]
            if line.strip():
                yield number, start, line


def kind_of(value: Any) -> str:
    """What a JSON value is, in words that "must be text, not" can precede."""
    names = {type(None): "null", bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list"}
    return names.get(type(value), "an object" if isinstance(value, Mapping) else f"a {type(value).__name__}")


def cut_text(text: str) -> str:
    """What is wrong with a text that holds half of a surrogate pair, which UTF-8 cannot store; "" for all others."""
    wrong = not text.isascii() and _SURROGATE.search(text)
    return "holds half of a surrogate pair; the text was cut or decoded wrongly" if wrong else ""


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON; use a number or null")


#: Strict JSON: NaN and Infinity are refused.
DECODER = json.JSONDecoder(parse_constant=_no_constant)


def parse_json(data: bytes, decoder: json.JSONDecoder = DECODER) -> Any:
    """One JSON value from UTF-8 bytes. Raises ValueError whose text says what is wrong (no place)."""
    try:
        return decoder.decode(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(not_utf8(data, error)) from error
    except json.JSONDecodeError as error:
        raise ValueError(f"not valid JSON: {json_trouble(error)} at column {error.colno}") from error
    except RecursionError as error:
        raise ValueError("nested too deeply to be an annotation") from error


def json_trouble(error: json.JSONDecodeError) -> str:
    """What is wrong, in words that a place can follow ("unterminated string starting" at column 3)."""
    return (error.msg[:1].lower() + error.msg[1:]).removesuffix(" at")


def dump_json(value: Any, where: str) -> bytes:
    """`value` as one line of UTF-8 JSON without a line end; DataError names `where` when it cannot be written."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(", ", ": ")).encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(f"{where}: the text holds half of a surrogate pair, which UTF-8 cannot store") from error
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"{where}: cannot be stored as JSON: {error}") from error


def nearest(word: str, known: Iterable[str]) -> str:
    """' (did you mean "x"?)' for the closest known word, or '' when none is close."""
    names = list(known)
    folded = {name.casefold(): name for name in names}
    if word.casefold() in folded:
        return f' (did you mean "{folded[word.casefold()]}"?)'
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f' (did you mean "{close[0]}"?)' if close else ""


def nearest_key(names: Iterable[object], known: Sequence[str]) -> str:
    """`nearest` for the first of the names that are not known and have one; "" when none has."""
    return next((hint for name in names if name not in known and (hint := nearest(str(name), known))), "")
