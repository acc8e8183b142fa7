"""The command line: parse, call, print. `main` is the `capwright` command.

Nothing here imports torch until a command needs it, so that `--help`, `data`, `scenes`, `eval`, `score` and `report`
are quick.
"""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from capwright.cli import (
    arena,
    cache,
    caption,
    compare,
    curate,
    data,
    demo,
    doctor,
    evaluate,
    report,
    scenes,
    score,
    train,
)
from capwright.cli._errors import Commands
from capwright.console import show

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train, run and measure image captioners that must name things right.",
)
app.command("demo", no_args_is_help=False)(demo.demo)
app.command("train", no_args_is_help=True)(train.train)
app.command("caption", no_args_is_help=True)(caption.caption)
app.command("eval", no_args_is_help=True)(evaluate.evaluate)
app.add_typer(score.app, name="score")
app.command("compare", no_args_is_help=True)(compare.compare)
app.command("arena", no_args_is_help=True)(arena.arena)
app.command("report", no_args_is_help=True)(report.report)
app.add_typer(data.app, name="data")
app.command("curate", no_args_is_help=True)(curate.curate)
app.add_typer(scenes.app, name="scenes")
app.add_typer(cache.app, name="cache")
app.command("doctor")(doctor.doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        from capwright import __version__

        show(f"capwright {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None: ...


def main() -> None:
    """Run the command line."""
    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:  # schedulers stop a job with it: the same as Ctrl-C
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    app()
