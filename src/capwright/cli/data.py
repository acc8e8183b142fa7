"""capwright data: check, convert and import datasets."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer

from capwright.cli.display import counting, say

app = typer.Typer(no_args_is_help=True, help="Check, convert and import datasets.")

Layout = Annotated[str, typer.Option(help="jsonl (samples.jsonl) or ecac (captions.json, toy_labels.json, ...).")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a dataset of the same layout in OUT.")]


@app.command(no_args_is_help=True)
def check(path: Annotated[Path, typer.Argument(metavar="PATH", help="A dataset folder.")]) -> None:
    """Report every problem of a dataset. Exit code 0: usable, 1: not."""
    from capwright.data import check_dataset

    with counting("pictures") as progress:
        found = check_dataset(path, progress)
    folder = path.parent if path.is_file() else path
    for (file, severity, message), group in groupby(found.problems, key=lambda p: (p.file, p.severity, p.message)):
        lines = [problem.line for problem in group]
        place = folder / file  # to be opened from here
        first = f"{place}:{lines[0]}" if lines[0] else str(place)
        more = f" (and {len(lines) - 1:,} more like it)" if len(lines) > 1 else ""
        typer.echo(f"{first}: {severity}: {message}{more}")
    errors = sum(problem.severity == "error" for problem in found.problems)
    warnings = len(found.problems) - errors
    verdict = "usable" if found.usable else "not usable: correct the errors"
    counts = (_count(found.samples, "sample"), _count(errors, "error"), _count(warnings, "warning"))
    typer.echo(f"{path}: {', '.join(counts)}; {verdict}")
    if not found.usable:
        raise typer.Exit(1)


@app.command(no_args_is_help=True)
def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A dataset folder of either layout.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write; pictures are copied.")],
    layout: Layout = "jsonl",
    overwrite: Overwrite = False,
) -> None:
    """Write a dataset in the other layout."""
    from capwright.data import open_dataset, write_dataset

    dataset = open_dataset(source)
    place = write_dataset(dataset, out, layout=layout, overwrite=overwrite)
    say(f"{place}: {_count(len(dataset), 'sample')} in the {layout} layout")


@app.command("from-coco", no_args_is_help=True)
def from_coco(
    annotations: Annotated[
        list[Path],
        typer.Argument(metavar="ANNOTATIONS...", help="COCO files: captions and instances of the same pictures."),
    ],
    images: Annotated[Path, typer.Argument(metavar="IMAGES", help="The folder of the pictures.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write; pictures are copied.")],
    layout: Layout = "jsonl",
    split: Annotated[str | None, typer.Option(help="Put every sample there; by default as the file says.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Make a dataset of COCO annotations.

    Captions become references, the categories of boxed objects the terms.
    """
    from capwright.data import read_coco, write_dataset

    samples, vocabulary = read_coco(annotations, images, split)
    place = write_dataset(samples, out, vocabulary, layout, overwrite=overwrite)
    counts = f"{_count(len(samples), 'sample')}, {_count(len(vocabulary), 'term')}"
    say(f"{place}: {counts}; next: capwright data check {place}")


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
