"""capwright scenes: the built-in kindergarten as files and as a sheet to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from capwright.cli.display import counting, say

app = typer.Typer(no_args_is_help=True, help="Build and look at the built-in kindergarten.")


@app.command(no_args_is_help=True)
def build(
    n: Annotated[int, typer.Option("--n", help="How many scenes; of the first 5,000 a tenth each is val and test.")],
    out: Annotated[Path, typer.Option(help="The folder to write; it must be new or empty.")],
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 0,
    layout: Annotated[str, typer.Option(help="jsonl or ecac.")] = "jsonl",
    size: Annotated[int, typer.Option(metavar="PX", help="Pixels of one side.")] = 96,
    processes: Annotated[int, typer.Option(help="How many draw at the same time.")] = 1,
) -> None:
    """Write a dataset of drawn scenes whose truth is known."""
    from capwright.scenes import build as build_scenes

    with counting("scenes") as progress:
        place = build_scenes(n, seed, out, layout, size, processes, progress)
    say(f"{place}: {n:,} scenes")


@app.command()
def show(
    n: Annotated[int, typer.Option("--n", min=1, help="How many scenes.")] = 12,
    seed: Annotated[int, typer.Option(help="Of the world.")] = 0,
    out: Annotated[Path, typer.Option(metavar="FILE.png", help="The picture to write.")] = Path("scenes.png"),
    size: Annotated[int, typer.Option(metavar="PX", min=16, help="Pixels of one side of a scene.")] = 200,
    toys: Annotated[bool, typer.Option("--toys", help="Show every toy with its name instead.")] = False,
) -> None:
    """Draw a contact sheet: scenes with their captions, or all toys."""
    from capwright.data.disk import writing
    from capwright.scenes import contact_sheet, expert_captions, sample_scene, toy_sheet
    from capwright.types import DataError

    if out.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise DataError(f"{out}: name a picture file such as scenes.png")
    if toys:
        sheet = toy_sheet(size)
    else:
        scenes = [sample_scene(seed, index) for index in range(n)]
        sheet = contact_sheet(scenes, [expert_captions(scene)[0] for scene in scenes], size)
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(out)
    say(f"{out}: {'all toys' if toys else f'{n} scenes'}, {sheet.width} x {sheet.height} pixels")
