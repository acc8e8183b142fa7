"""Several processes: how many share a server, and locks after a fork.

Another thread of the parent may have held a lock when it forked, and none of the child's would release it.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol


def processes() -> int:
    """How many processes of this run share a server's limits and our budget: WORLD_SIZE, or 1."""
    size = os.environ.get("WORLD_SIZE", "1")
    return max(1, int(size)) if size.isdigit() else 1


class Forked(Protocol):
    """Something with a lock, or with what two processes cannot share."""

    def after_fork(self) -> None:
        """In the child: take fresh locks, and forget what is the parent's."""


_ALIVE: weakref.WeakSet[Forked] = weakref.WeakSet()
_OF_PARENTS: list[object] = []


def renewed_after_fork(thing: Forked) -> None:
    """From now on, as long as it lives, `thing.after_fork()` is called in every child."""
    _ALIVE.add(thing)


def leave_to_parent(thing: object) -> None:
    """Keep a connection or a loop of the parent: to close it, or to let it be collected, would disturb the parent."""
    if thing is not None:
        _OF_PARENTS.append(thing)


def _in_child() -> None:
    for thing in list(_ALIVE):
        thing.after_fork()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_in_child)
