"""Answers by content, in one SQLite file that several processes may use, so that nothing is asked, or paid, twice.

It is a cache: trouble with it is warned about and costs time or money, never a result. Keys of servers are not in it;
prompts are not in it either, only their sha256: what can be read in it are the answers.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from capwright.data.cache_dir import set_aside
from capwright.judges.client.messages import ChatError
from capwright.judges.client.processes import leave_to_parent, renewed_after_fork

_Answer = TypeVar("_Answer")
FILE = "answers.sqlite"
#: Megabytes the answers may take; beyond it the oldest go. A short answer takes half a kilobyte.
LIMIT_MB = 1000.0
_BUSY = 10.0
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class CacheState:
    """How many answers a file holds, its bytes, and when the oldest was kept (seconds since 1970; None: empty)."""

    path: Path
    answers: int
    size: int
    oldest: float | None


class AnswerCache:
    """Answers by key. May be used by threads, several processes, and after a fork.

    Args:
        folder: where the file is.
        limit_mb: megabytes that answers may take.
        days: older answers are as if they were not there; None keeps them for ever.
    """

    def __init__(self, folder: Path, *, limit_mb: float = LIMIT_MB, days: float | None = None) -> None:
        self.path = folder / FILE
        self._limit = int(limit_mb * 1e6)
        self._seconds = None if days is None else days * 86400
        self._db: sqlite3.Connection | None = None
        self.after_fork()
        renewed_after_fork(self)

    def after_fork(self) -> None:
        """In a child a thread of the parent may have held the lock, and the file is opened anew."""
        self._lock = threading.RLock()
        leave_to_parent(self._db)  # closing it here would drop the parent's locks
        self._db = None

    def get(self, keys: Sequence[bytes]) -> dict[bytes, dict[str, Any]]:
        """The answers that are there, by key."""
        return self._with_file(lambda db: self._read(db, keys), {}) if keys else {}

    def put(self, answers: Mapping[bytes, Mapping[str, Any]]) -> int:
        """Keep answers (JSON values), in place of those under the same keys; how many are kept, all or none."""
        now = time.time()
        rows = [(key, now, json.dumps(answer)) for key, answer in answers.items()]
        return self._with_file(lambda db: self._write(db, rows), 0) if rows else 0

    def state(self) -> CacheState:
        """What is in it; a file that is not there is not made."""
        if not self.path.is_file():
            return CacheState(self.path, 0, 0, None)
        query = "SELECT count(*), min(made) FROM answers"
        count, oldest = self._with_file(lambda db: db.execute(query).fetchone(), (0, None))
        files = [self.path, Path(f"{self.path}-wal")]
        return CacheState(self.path, count, sum(file.stat().st_size for file in files if file.is_file()), oldest)

    def clear(self, older_days: float = 0.0) -> int:
        """Forget answers that are older than so many days; how many there were. Raises ChatError where it cannot."""
        if not self.path.is_file():
            return 0
        with self._lock:
            try:
                return self._clear(self._opened(), older_days)
            except (OSError, sqlite3.Error) as error:
                self.close()
                why = f"{self.path}: cannot be cleared ({error})"
                raise ChatError(f"{why}; if no other program uses it, the file may be deleted instead") from None

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None

    def _read(self, db: sqlite3.Connection, keys: Sequence[bytes]) -> dict[bytes, dict[str, Any]]:
        since = 0.0 if self._seconds is None else time.time() - self._seconds
        found: dict[bytes, dict[str, Any]] = {}
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            query = f"SELECT key, answer FROM answers WHERE made >= ? AND key IN ({','.join('?' * len(some))})"
            for key, answer in db.execute(query, (since, *some)):
                with contextlib.suppress(ValueError, TypeError):  # a row that something else wrote
                    found[bytes(key)] = json.loads(answer)
        return found

    def _write(self, db: sqlite3.Connection, rows: list[tuple[bytes, float, str]]) -> int:
        with db:
            db.executemany("INSERT OR REPLACE INTO answers (key, made, answer) VALUES (?, ?, ?)", rows)
            while self._used(db) > self._limit and db.execute("SELECT 1 FROM answers LIMIT 1").fetchone():
                db.execute(
                    "DELETE FROM answers WHERE id IN (SELECT id FROM answers ORDER BY id LIMIT "
                    "(SELECT 1 + count(*) / 10 FROM answers))"
                )
        return len(rows)

    def _used(self, db: sqlite3.Connection) -> int:
        pages, free, size = (
            db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        # The table and its index are there when it is empty, too.
        return max(0, pages - free - 4) * size

    def _clear(self, db: sqlite3.Connection, older_days: float) -> int:
        with db:
            gone = db.execute("DELETE FROM answers WHERE made <= ?", (time.time() - older_days * 86400,)).rowcount
        db.execute("VACUUM")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return int(gone)

    def _opened(self) -> sqlite3.Connection:
        if self._db is not None:
            return self._db
        self.path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(self.path, timeout=_BUSY, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute(
                "CREATE TABLE IF NOT EXISTS answers "
                "(id INTEGER PRIMARY KEY, key BLOB UNIQUE NOT NULL, made REAL NOT NULL, answer TEXT NOT NULL)"
            )
        except BaseException:
            db.close()
            raise
        self._db = db
        return db

    def _with_file(self, work: Callable[[sqlite3.Connection], _Answer], otherwise: _Answer) -> _Answer:
        """What `work` gives, or `otherwise` after a warning. A file that is broken is set aside once."""
        with self._lock:
            for first_try in (True, False):
                try:
                    return work(self._opened())
                except (OSError, sqlite3.Error) as error:
                    self.close()
                    if not first_try or isinstance(error, (OSError, sqlite3.OperationalError)):
                        _warn(
                            f"answers are not kept: {self.path} cannot be used ({error}); set CAPWRIGHT_CACHE to a "
                            "folder that can be written, or to off"
                        )
                        return otherwise
                    aside = set_aside(self.path)
                    _warn(f"the file of kept answers was broken ({error}); it is now {aside} and may be deleted")
        return otherwise


def _warn(text: str) -> None:
    warnings.warn(text, RuntimeWarning, stacklevel=4)
