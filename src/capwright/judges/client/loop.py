"""An event loop in a thread of its own, so that asking looks synchronous and works inside notebooks and other loops."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from capwright.judges.client.fork_safety import renewed_after_fork

_Answer = TypeVar("_Answer")
#: How long the end of a call may take that was cancelled.
_LAST_SECONDS = 5.0
_OF_PARENTS: list[asyncio.AbstractEventLoop] = []


class LoopThread:
    """Runs coroutines to their end, one call at a time; the thread starts on first use, and anew after a fork."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._owner = 0
        self.after_fork()
        renewed_after_fork(self)

    def after_fork(self) -> None:
        """In a child the thread does not run, and what it was asked for is the parent's."""
        self._call: Future[Any] | None = None
        self._lock = threading.Lock()

    @property
    def fresh(self) -> bool:
        """Whether no loop of this process is running: what belonged to an earlier loop cannot be used any more."""
        return self._loop is None or self._owner != os.getpid()

    def run(self, work: Coroutine[Any, Any, _Answer]) -> _Answer:
        """What `work` gives. Ctrl-C cancels it."""
        with self._lock:
            if self.fresh:
                if self._loop is not None:  # the parent's, which goes on with it
                    _OF_PARENTS.append(self._loop)
                self._loop, self._owner = asyncio.new_event_loop(), os.getpid()
                self._thread = threading.Thread(target=_run, args=(self._loop,), name="capwright-chat", daemon=True)
                self._thread.start()
            assert self._loop is not None
            ended = threading.Event()
            self._call = future = asyncio.run_coroutine_threadsafe(_told(work, ended), self._loop)
            try:
                return future.result()
            except BaseException:
                future.cancel()
                ended.wait(_LAST_SECONDS)  # from here on nothing is answered any more
                raise
            finally:
                self._call = None

    def end(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs a last coroutine and ends the thread; the next `run` starts another.

        A call that is under way then is of a thread that the end of the program does not wait for; it is cancelled.
        """
        call = self._call
        if call is not None and not self.fresh:
            call.cancel()
        with self._lock:
            loop, self._loop = (None, None) if self.fresh else (self._loop, None)
            if loop is None:
                work.close()
                return
            last = asyncio.run_coroutine_threadsafe(work, loop)
            last.add_done_callback(lambda _: loop.call_soon_threadsafe(loop.stop))
            if threading.current_thread() is not self._thread:  # the garbage collector may call us from anywhere
                with contextlib.suppress(Exception):
                    last.result(timeout=_LAST_SECONDS)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()


async def _told(work: Coroutine[Any, Any, _Answer], ended: threading.Event) -> _Answer:
    try:
        return await work
    finally:
        ended.set()
