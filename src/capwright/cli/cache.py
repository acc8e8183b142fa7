"""capwright cache: answers of language models that are kept, so that nothing is asked or paid twice."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from capwright.console import count, say, show, warnings_said

if TYPE_CHECKING:
    from capwright.judges.client import AnswerCache

app = typer.Typer(invoke_without_command=True, help="What judges answered, kept: where, how much; and clearing it.")


@app.callback()
def folders(context: typer.Context) -> None:
    """Say where answers are kept, how many there are and how much room they take."""
    if context.invoked_subcommand is not None:
        return
    cache = _opened()
    if cache is None:
        show("off: CAPWRIGHT_CACHE is off, nothing is kept")
        return
    with warnings_said():
        state = cache.state()
    age = "" if state.oldest is None else f", the oldest {(time.time() - state.oldest) / 86400:.0f} days old"
    show(f"{state.path}: {count(state.answers, 'answer')}, {state.size / 1e6:.1f} MB{age}")


@app.command()
def clear(
    older: Annotated[float, typer.Option(metavar="DAYS", min=0, help="Only answers older than so many days.")] = 0.0,
) -> None:
    """Forget what is kept; it will be asked, and paid, again."""
    cache = _opened()
    gone = 0 if cache is None else cache.clear(older)
    say(f"{count(gone, 'answer')} {'is' if gone == 1 else 'are'} gone")


def _opened() -> AnswerCache | None:
    from capwright.data.cache_dir import cache_folder
    from capwright.judges.client.cache import AnswerCache

    folder = cache_folder()
    return None if folder is None else AnswerCache(folder)
