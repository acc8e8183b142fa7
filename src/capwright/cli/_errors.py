"""Errors as people see them: one message that says what, where and what to do; never a traceback."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from capwright.console import first_line, say
from capwright.types import CapwrightError, OutageError

#: What a shell expects of a command that was stopped with Ctrl-C.
INTERRUPTED = 130


class Commands(TyperGroup):
    """All commands; errors that a user can act on end here."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except CapwrightError as error:
            if _was_stopped(error):
                if not _worker():
                    say(str(error))
                raise typer.Exit(INTERRUPTED) from None
            _fail(str(error))
        except KeyboardInterrupt:
            say("stopped")
            raise typer.Exit(INTERRUPTED) from None
        except OSError as error:
            if error.errno == errno.EPIPE:  # the reader of a pipe has gone: `capwright ... | head`
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                raise typer.Exit(1) from None
            _fail(describe(error))
        except Exception as error:
            if type(error).__name__ != "OutOfMemoryError":
                raise
            _fail(f"the device has not enough memory: use a smaller batch or smaller images ({first_line(error)})")


@contextmanager
def resumable(how: str) -> Iterator[None]:
    """Ctrl-C inside, or a judge that is down, ends the command with a word on how to go on."""
    try:
        yield
    except OutageError as error:
        raise error if how in str(error) else OutageError(f"{error}; {how}") from None
    except KeyboardInterrupt:
        say(f"stopped; {how}")
        raise typer.Exit(INTERRUPTED) from None


def describe(error: OSError) -> str:
    """An error of the operating system with the path it is about."""
    from capwright.data.files import reason

    where = error.filename2 or error.filename
    return f"{where}: {reason(error)}" if where else reason(error)


def _was_stopped(error: CapwrightError) -> bool:
    """Whether training was stopped by Ctrl-C and saved itself; asks only when training was imported at all."""
    run = sys.modules.get("capwright.runs.train_loop")
    return run is not None and isinstance(error, run.Stopped)


def _fail(message: str) -> None:
    who = f"process {_worker() + 1}: " if _worker() else ""
    say(f"error: {who}{message}")
    raise typer.Exit(1) from None


def _worker() -> int:
    """The rank of this process among those of one run; 0 for the first, or for one that is alone."""
    return int(os.environ.get("RANK", "0"))
