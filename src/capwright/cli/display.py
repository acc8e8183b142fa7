"""What commands show besides their result: counters while something long goes on, tables at the end."""

from __future__ import annotations

import shlex
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

Progress = Callable[[int, int], None]

#: Columns of tables that are not shown on a terminal (log files, pipes).
_WIDTH = 140
#: Seconds between lines of a counter that is not shown on a terminal.
_EVERY = 10.0


def say(text: str) -> None:
    """A line about what is going on; results go to stdout, this does not."""
    print(text, file=sys.stderr, flush=True)


def program() -> str:
    """What to type for `capwright`: its path when it lies in a virtual environment that PATH does not lead to."""
    own = shutil.which("capwright", path=str(Path(sys.executable).parent))
    found = shutil.which("capwright")
    if own is None or (found is not None and Path(found).samefile(own)):
        return "capwright"
    here = Path.cwd()
    return shlex.quote(str(Path(own).relative_to(here) if Path(own).is_relative_to(here) else own))


@contextmanager
def warnings_said() -> Iterator[None]:
    """Warnings (no answer in time, a cache that can not be written) as lines, without where they arose."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: say(f"warning: {message}")
        yield


@contextmanager
def counting(label: str) -> Iterator[Progress]:
    """A counter for calls of `progress(done, total)`: a bar on a terminal, a line every ten seconds elsewhere."""
    if not sys.stderr.isatty():
        yield _line_counter(label)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(label, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


def _line_counter(label: str) -> Progress:
    last = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _EVERY:
            last = now
            say(f"{label}: {done:,} of {total:,}")

    return progress


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], title: str = "", *, words: bool = False) -> None:
    """A table on stdout; every column but the first is right-aligned, none when they hold `words`."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False)
    table = Table(box=SIMPLE_HEAD, title=Text(title) if title else None, title_justify="left", pad_edge=False)
    for number, name in enumerate(header):
        # Folded: where there is no room, names go on in the next line; cut off, two systems would look like one.
        table.add_column(Text(name), justify="left" if number == 0 or words else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)
