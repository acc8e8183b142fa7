"""capwright scenes: the built-in kindergarten as files and as a sheet to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from capwright.console import counting, say

Tail = Annotated[float, typer.Option(help="How unequal the frequencies of toys are: 0 uniform, 1 Zipf's law.")]
Naming = Annotated[float, typer.Option(help="How often an expert's caption of a train scene names a toy.")]
Omission = Annotated[float, typer.Option(help="The share of the toys not named that it leaves out.")]
Variety = Annotated[float, typer.Option(help="How much expert captions differ from each other, 0 to 1.")]

app = typer.Typer(no_args_is_help=True, help="Build and look at the built-in kindergarten.")


@app.command(no_args_is_help=True)
def build(
    n: Annotated[int, typer.Option("--n", help="How many scenes; of the first 5,000 a tenth each is val and test.")],
    out: Annotated[Path, typer.Option(help="The folder to write; it must be new or empty.")],
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 0,
    layout: Annotated[str, typer.Option(help="jsonl or ecac.")] = "jsonl",
    size: Annotated[int, typer.Option(metavar="PX", help="Pixels of one side.")] = 96,
    processes: Annotated[int, typer.Option(help="How many draw at the same time.")] = 1,
    tail: Tail = 0.0,
    naming: Naming = 1.0,
    omission: Omission = 0.0,
    variety: Variety = 0.0,
    experts: Annotated[int | None, typer.Option(help="Train scenes with expert captions; all by default.")] = None,
    label_noise: Annotated[float, typer.Option(help="The share of wrong labels of train scenes.")] = 0.0,
) -> None:
    """Write a dataset of drawn scenes whose truth is known."""
    from capwright.scenes import WorldOptions
    from capwright.scenes import build as build_scenes

    options = WorldOptions(tail, naming, omission, variety, experts, label_noise)
    with counting("scenes") as progress:
        place = build_scenes(n, seed, out, layout, size, processes, progress, options)
    say(f"{place}: {n:,} scenes")


@app.command()
def show(
    n: Annotated[int, typer.Option("--n", min=1, help="How many scenes.")] = 12,
    seed: Annotated[int, typer.Option(help="Of the world.")] = 0,
    out: Annotated[Path, typer.Option(metavar="FILE.png", help="The image to write.")] = Path("scenes.png"),
    size: Annotated[int, typer.Option(metavar="PX", min=16, help="Pixels of one side of a scene.")] = 200,
    toys: Annotated[bool, typer.Option("--toys", help="Show every toy with its name instead.")] = False,
    tail: Tail = 0.0,
    naming: Naming = 1.0,
    omission: Omission = 0.0,
    variety: Variety = 0.0,
) -> None:
    """Draw a contact sheet: scenes with their captions, or all toys."""
    from capwright.data.files import writing
    from capwright.scenes import WorldOptions, contact_sheet, expert_captions, sample_scene, toy_sheet
    from capwright.types import DataError

    if out.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise DataError(f"{out}: name an image file such as scenes.png")
    if toys:
        sheet = toy_sheet(size)
    else:
        options = WorldOptions(tail, naming, omission, variety)
        scenes = [sample_scene(seed, index, tail) for index in range(n)]
        sheet = contact_sheet(scenes, [expert_captions(scene, options)[0] for scene in scenes], size)
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(out)
    say(f"{out}: {'all toys' if toys else f'{n} scenes'}, {sheet.width} x {sheet.height} pixels")
