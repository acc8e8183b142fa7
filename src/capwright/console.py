"""What is said while something long goes on: lines, warnings, and counters that are bars on a terminal."""

from __future__ import annotations

import re
import reprlib
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

#: Called with (done, total).
OnProgress = Callable[[int, int], None]

#: Seconds between lines of a counter that is not shown on a terminal.
_EVERY = 10.0


#: What a terminal obeys rather than shows: control characters but for line feeds and tabs, changes of the direction of
#: writing, line separators. And halves of surrogate pairs, which no stream takes.
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def clean(text: str) -> str:
    r"""Text of others (captions, names, what a server said) that a terminal shows and does not obey.

    >>> print(clean("\x1b[2J, back \r and a name: \u202etac"))
    \x1b[2J, back \r and a name: \u202etac
    """
    return _OBEYED.sub(lambda found: ascii(found[0])[1:-1], text)


def say(text: str) -> None:
    """A line about what is going on; results go to stdout, this does not."""
    print(clean(text), file=sys.stderr, flush=True)


def show(text: str = "") -> None:
    """A line of a result, on stdout."""
    print(clean(text), flush=True)


def count(n: int, noun: str) -> str:
    """A number with its noun, as people write it.

    >>> count(1, "sample"), count(2000, "sample")
    ('1 sample', '2,000 samples')
    """
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def first_line(error: BaseException) -> str:
    """What an error says in its first line; its class, where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def shown(value: object, most: int = 200) -> str:
    """A value in a message: as Python writes it, cut off where it is long.

    >>> shown({"a": "x" * 90}, most=20)
    "{'a': 'xxxxxxxxxx..."
    """
    brief = reprlib.Repr()
    brief.maxlevel, brief.maxstring, brief.maxlong, brief.maxother = 10, most + 20, most + 20, most + 20
    brief.maxdict = brief.maxlist = brief.maxtuple = brief.maxset = most // 4 + 1
    text = brief.repr(value)
    return text if len(text) <= most else f"{text[: most - 3]}..."


@contextmanager
def warnings_said() -> Iterator[None]:
    """Warnings (no answer in time, a cache that cannot be written) as lines, without where they arose."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: say(f"warning: {message}")
        yield


@contextmanager
def counting(label: str) -> Iterator[OnProgress]:
    """A counter for calls of `progress(done, total)`: a bar on a terminal, a line every ten seconds elsewhere."""
    if not sys.stderr.isatty():
        yield _line_counter(label)
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(escape(clean(label)), total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


@contextmanager
def counting_each(label: str) -> Iterator[Callable[[str, int, int], None]]:
    """A counter for each of several things in turn, for calls of `progress(name, done, total)`."""
    counters: dict[str, OnProgress] = {}
    with ExitStack() as current:

        def progress(name: str, done: int, total: int) -> None:
            if name not in counters:
                current.close()
                counters[name] = current.enter_context(counting(f"{label} {name}"))
            counters[name](done, total)

        yield progress


def _line_counter(label: str) -> OnProgress:
    last = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _EVERY:
            last = now
            say(f"{label}: {done:,} of {total:,}")

    return progress
