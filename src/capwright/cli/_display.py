"""How the command line writes tables, and its own name."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from capwright.console import clean

#: Columns of tables that are not shown on a terminal (log files, pipes).
_WIDTH = 140


def program() -> str:
    """What to type for `capwright`: its path when it lies in a virtual environment that PATH does not lead to."""
    own = shutil.which("capwright", path=str(Path(sys.executable).parent))
    found = shutil.which("capwright")
    if own is None or (found is not None and Path(found).samefile(own)):
        return "capwright"
    here = Path.cwd()
    return shlex.quote(str(Path(own).relative_to(here) if Path(own).is_relative_to(here) else own))


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], title: str = "", *, words: bool = False) -> None:
    """A table on stdout; every column but the first is right-aligned, none when they hold `words`."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False)
    table = Table(box=SIMPLE_HEAD, title=Text(clean(title)) if title else None, title_justify="left", pad_edge=False)
    for number, name in enumerate(header):
        # Folded: where there is no room, names go on in the next line; cut off, two systems would look like one.
        table.add_column(Text(clean(name)), justify="left" if number == 0 or words else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(clean(cell)) for cell in row))
    console.print(table)
