"""The user's cache folder, and what to do with a file in it that is broken."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path


def cache_folder() -> Path | None:
    """Where things that took long or cost money are kept; None when CAPWRIGHT_CACHE is "off".

    CAPWRIGHT_CACHE names a folder; otherwise it is XDG_CACHE_HOME/capwright, or the usual place of the system.
    """
    own = os.environ.get("CAPWRIGHT_CACHE")
    if own:
        return None if own.lower() == "off" else Path(own).expanduser()
    xdg = os.environ.get("XDG_CACHE_HOME")
    if xdg:
        return Path(xdg) / "capwright"
    home = Path("~").expanduser()
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "capwright"
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else home / "AppData" / "Local") / "capwright" / "Cache"
    return home / ".cache" / "capwright"


def set_aside(path: Path) -> str:
    """Renames a broken SQLite file, so that a new one can begin in its place; its new name."""
    aside = path.with_name(f"{path.stem}.broken-{os.getpid()}-{time.time_ns()}{path.suffix}")
    with contextlib.suppress(OSError):  # another process was faster
        path.replace(aside)
    for ending in ("-wal", "-shm"):
        with contextlib.suppress(OSError):
            Path(f"{path}{ending}").unlink()
    return aside.name
