"""One process at a time for a file or folder that a job writes and can go on with.

The system lets go of a lock when its process dies, so a job that was killed leaves nothing in the way. Where that does
not work (some network file systems), the lock file says which process on which host holds it.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from capwright.data.files import writing
from capwright.types import DataError

try:
    import fcntl
except ImportError:  # not on Windows: there the process named in the lock file counts
    fcntl = None  # type: ignore[assignment]

#: What this process holds, and in which thread.
_held: dict[Path, int] = {}


def lock_file(place: str | Path) -> Path:
    """The lock of a file is `.NAME.lock` beside it, that of a folder `.lock` in it."""
    place = Path(place)
    return place / ".lock" if place.is_dir() else place.with_name(f".{place.name}.lock")


@contextmanager
def only_one(place: str | Path, within: bool = False) -> Iterator[None]:
    """Hold a file or folder against other jobs.

    Args:
        within: where this thread has it already, that is enough.
    Raises:
        DataError: another job has it: names its process, host and command, and what to do.
    """
    path = lock_file(place).absolute()
    if within and _held.get(path) == threading.get_ident():
        yield
        return
    file = _acquire(path, Path(place))
    _held[path] = threading.get_ident()
    try:
        yield
    finally:
        del _held[path]
        with suppress(OSError):
            path.unlink()  # before it is let go, so that no other job can have it by then
        os.close(file)


def _acquire(path: Path, place: Path) -> int:
    while True:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            free = _flock(file)
            holder = _read(file)
            if free is False or (holder and _in_the_way(holder, certain=free is True)):
                raise DataError(_refusal(place, path, holder))
            if _same_file(file, path):
                own = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
                text = json.dumps(own | {"command": " ".join(sys.argv)[:500]}) + "\n"
                with writing(path):
                    os.ftruncate(file, 0)
                    os.pwrite(file, text.encode("utf-8", "backslashreplace"), 0)
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # the job before removed it meanwhile


def _flock(file: int) -> bool | None:
    """Whether the system gave the lock; None where it has none."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _read(file: int) -> dict[str, Any]:
    try:
        found = json.loads(os.pread(file, 4096, 0))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _in_the_way(holder: dict[str, Any], certain: bool) -> bool:
    """Whether who left this may still be there. On this host the system knows (`certain`), or the process is looked up;
    another host is believed.
    """
    if holder.get("host") != socket.gethostname():
        return True
    return not certain and holder.get("pid") != os.getpid() and _alive(holder.get("pid"))


def _alive(pid: Any) -> bool:
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _same_file(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except OSError:
        return False


def _refusal(place: Path, path: Path, holder: dict[str, Any]) -> str:
    pid, host = holder.get("pid"), holder.get("host")
    if host not in (None, socket.gethostname()):
        who = f"process {pid} on {host}"
        way_out = f"wait for it; if it has ended, remove {path}"
    else:
        who = "this process" if pid == os.getpid() else f"process {pid}"
        way_out = "wait for it, or choose another place"
    since, command = holder.get("since"), holder.get("command")
    about = f" (since {since}: {command})" if since and command else ""
    return f"{place}: another job is writing it, {who if holder else 'a process'}{about}; {way_out}"
