"""Statistics that took long to compute, kept by content in one SQLite file, so that nothing is measured twice.

A key is a digest of everything that the numbers depend on, what captions have in common first and the caption last; a
value is the numbers. The file may be used by several processes at once. It is a cache: trouble with it is warned about
and costs time, never a result.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import sqlite3
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from capwright.data.cache_dir import set_aside
from capwright.types import ScorerError

StatsRow = NDArray[np.float64]
_Answer = TypeVar("_Answer")

_FILE = "statistics.sqlite"
#: Rows a table may have; beyond it the oldest go. A million rows of METEOR are about 300 MB.
LIMIT = 1_000_000
#: Seconds to wait for another process that writes.
_BUSY = 10.0
_AT_ONCE = 500


def digest(*parts: str) -> bytes:
    """16 bytes that stand for a list of texts; half a key."""
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        whole.update(len(data).to_bytes(8, "little") + data)
    return whole.digest()[:16]


class Store:
    """Rows of one kind by key.

    Args:
        kind: name of the table; letters only.
        width: numbers in a row. Rows of another width are as if they were not there; None for rows of any width.
        folder: where the file is; None keeps nothing.
        limit: rows that are kept at most, the newest.

    Every call opens the file anew (a millisecond), so that a Store may be used by threads and after a fork.
    """

    def __init__(self, kind: str, width: int | None, folder: Path | None, *, limit: int = LIMIT) -> None:
        if not re.fullmatch("[a-z]+", kind):
            raise ScorerError(f"the name of a store has letters only, not {kind!r}")
        self._table = kind
        self._width = width
        self._path = None if folder is None else folder / _FILE
        self._limit = limit

    def get(self, keys: Sequence[bytes]) -> dict[bytes, StatsRow]:
        """The rows that are there, by key."""
        return self._with_file(lambda db: self._read(db, keys), {}) if keys else {}

    def put(self, rows: Mapping[bytes, StatsRow]) -> None:
        """Keep rows; what is there under the same key is replaced."""
        values = [(key, np.asarray(row, dtype="<f8").tobytes()) for key, row in rows.items()]
        if values:
            self._with_file(lambda db: self._write(db, values), None)

    def knows(self, beginnings: Sequence[bytes]) -> bool:
        """Whether under every beginning of a key there is a row at least; False for none."""
        if not beginnings or self._path is None or not self._path.is_file():
            return False
        query = f"SELECT 1 FROM {self._table} WHERE key BETWEEN ? AND ? LIMIT 1"
        return self._with_file(
            lambda db: all(db.execute(query, (half, half + b"\xff" * 17)).fetchone() for half in beginnings), False
        )

    def _read(self, db: sqlite3.Connection, keys: Sequence[bytes]) -> dict[bytes, StatsRow]:
        found: dict[bytes, StatsRow] = {}
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            marks = ",".join("?" * len(some))
            for key, value in db.execute(f"SELECT key, value FROM {self._table} WHERE key IN ({marks})", some):
                if isinstance(value, bytes) and len(value) == 8 * (self._width or len(value) // 8):
                    found[bytes(key)] = np.frombuffer(value, dtype="<f8").astype(np.float64)
        return found

    def _write(self, db: sqlite3.Connection, values: list[tuple[bytes, bytes]]) -> None:
        with db:
            db.executemany(f"INSERT OR REPLACE INTO {self._table} (key, value) VALUES (?, ?)", values)
            db.execute(f"DELETE FROM {self._table} WHERE id <= (SELECT max(id) FROM {self._table}) - ?", (self._limit,))

    def _connect(self) -> sqlite3.Connection:
        assert self._path is not None
        self._path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(self._path, timeout=_BUSY)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute(
                f"CREATE TABLE IF NOT EXISTS {self._table} (id INTEGER PRIMARY KEY, key BLOB UNIQUE, value BLOB)"
            )
        except BaseException:
            db.close()
            raise
        return db

    def _with_file(self, work: Callable[[sqlite3.Connection], _Answer], otherwise: _Answer) -> _Answer:
        """What `work` gives, or `otherwise` after a warning. A file that is broken is set aside once."""
        if self._path is None:
            return otherwise
        for first_try in (True, False):
            try:
                with contextlib.closing(self._connect()) as db:
                    return work(db)
            except (OSError, sqlite3.OperationalError) as error:
                return self._without(error, otherwise)
            except sqlite3.DatabaseError as error:
                if not first_try:
                    return self._without(error, otherwise)
                self._set_aside(error)
        return otherwise

    def _without(self, error: Exception, otherwise: _Answer) -> _Answer:
        warnings.warn(
            f"statistics are not kept: {self._path} cannot be used ({error}); set CAPWRIGHT_CACHE to a folder that "
            "can be written, or to off",
            RuntimeWarning,
            stacklevel=2,
        )
        return otherwise

    def _set_aside(self, error: Exception) -> None:
        assert self._path is not None
        aside = set_aside(self._path)
        warnings.warn(
            f"the file of kept statistics was broken ({error}); it is now {aside} and may be deleted, a new one "
            f"is begun in {self._path.parent}",
            RuntimeWarning,
            stacklevel=2,
        )
