"""capwright train: a run from its recipe to its report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capwright.cli._errors import resumable
from capwright.cli._options import PluginOption
from capwright.console import show
from capwright.types import RecipeError, RunError

if TYPE_CHECKING:
    from capwright.recipes import Recipe


def train(
    recipe: Annotated[
        str | None, typer.Argument(metavar="RECIPE", help="A recipe file, or the name of one that comes along.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Change values of it: stages.rsrs.steps=10 model.lora=null"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run folder to write; by default runs/NAME-OF-THE-RECIPE.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Go on with the run in this folder; needs no recipe.")
    ] = None,
    processes: Annotated[
        int, typer.Option(min=1, help="So many processes on this machine share every step; with GPUs, one each.")
    ] = 1,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Print the plan, what judges would be asked, and the heaviest step; train nothing."
        ),
    ] = False,
    plugin: PluginOption = None,
) -> None:
    """Train a captioner as a recipe says.

    It is measured after every stage, and a report is written. The run folder holds recipe.yaml, metrics.jsonl,
    checkpoints/, captions/, summary.json and report.html. After an interruption of any kind, go on with
    `capwright train --resume DIR`.
    """
    from capwright.cli._quiet import quiet_libraries

    if recipe is not None and "=" in recipe and not Path(recipe).is_file():
        overrides = [recipe, *(overrides or [])]
        recipe = None
    if resume is not None and out is not None and out != resume:
        raise RunError(f"--resume {resume} goes on in that folder; leave --out {out} away")
    plan, folder = _what_to_run(recipe, overrides or [], out, resume, plugin or ())
    if processes > 1 and not dry_run:
        from capwright.runs.launch import run_in_processes

        _check_devices(plan, processes)
        where = ["--resume", str(resume)] if resume is not None else ["--out", str(folder)]
        given = [*([recipe] if recipe is not None else []), *(overrides or [])]
        where += [word for file in plugin or () for word in ("--plugin", str(file))]
        raise typer.Exit(run_in_processes(processes, ["train", *given, *where], folder))
    quiet_libraries()
    if dry_run:
        _preview(plan, folder)
        return
    from capwright.cli._tables import print_result
    from capwright.runs.pipeline import run_recipe

    with resumable(f"go on with: capwright train --resume {folder}"):
        scoring = run_recipe(plan, folder, resume=resume is not None)
    if scoring is not None:
        print_result(scoring, folder)


def _check_devices(recipe: Recipe, processes: int) -> None:
    import torch

    gpus = torch.cuda.device_count()
    if recipe.model.device != "cpu" and 0 < gpus < processes:
        raise RunError(
            f"--processes {processes}: each needs a GPU, and there are {gpus} here; take fewer, or set model.device=cpu"
        )


def _preview(recipe: Recipe, out: Path) -> None:
    """Print the plan on stdout and try the heaviest step."""
    from capwright.runs import Progress
    from capwright.runs import train as run

    class OnStdout(Progress):
        def say(self, text: str) -> None:
            show(text)

    run(recipe, out=out, dry_run=True, progress=OnStdout())


def _what_to_run(
    recipe: str | None, overrides: Sequence[str], out: Path | None, resume: Path | None, plugins: Sequence[Path]
) -> tuple[Recipe, Path]:
    from capwright.recipes import list_recipes, load_recipe
    from capwright.runs.resume import RECIPE

    if resume is None:
        if recipe is None:
            raise RecipeError(f"name a recipe: a file, or one of {', '.join(list_recipes())}")
        plan = load_recipe(recipe, overrides, plugins)
        return plan, out or Path("runs") / plan.name
    saved = resume / RECIPE
    if not saved.is_file():
        raise RunError(f"{resume}: holds no run to go on with (no {RECIPE}); start one with `capwright train RECIPE`")
    return load_recipe(saved if recipe is None else recipe, overrides, plugins), resume
