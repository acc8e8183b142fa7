"""capwright curate: a dataset made better, step by step, as a recipe says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from capwright.cli._errors import resumable
from capwright.cli._options import DryRunOption, PluginOption, print_costs
from capwright.console import counting, say, show, warnings_said

if TYPE_CHECKING:
    from capwright.curation.recipe import CurationRecipe
    from capwright.data import Dataset


def curate(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A recipe file, or the name of one that comes along.")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...", help="Change values of it: data.path=toys steps.questions.per_image=3"
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The new dataset folder; by default as the recipe says.")] = None,
    dry_run: DryRunOption = False,
    plugin: PluginOption = None,
) -> None:
    """Make a dataset better, step by step, as a recipe says.

    The same command goes on when it was stopped. What each step did with each sample is in OUT.journal.jsonl, beside
    the new folder; what was done in all, in OUT/curation.json.
    """
    from capwright.curation import load_curation, run_steps
    from capwright.curation.base import UNDEFINED
    from capwright.curation.runner import tally_lines

    changed = [*(overrides or []), *([f"out={out}"] if out is not None else [])]
    plan, steps = load_curation(recipe, changed)
    with resumable("the same command goes on"), warnings_said(), _opened(plan) as samples:
        if dry_run:
            _preview(steps, samples)
            return
        with counting("decisions about samples") as progress:
            data = plan.data.split or ""
            place = run_steps(steps, samples, plan.out, journal=plan.journal, data=data, progress=progress)
    for line in tally_lines(steps):
        show(line)
    say(f"{place}: written; what each step did with each sample is in {plan.journal}")
    if any(step.tally.unknown.keys() - {UNDEFINED} for step in steps):
        say(f"remove {place} and give the same command again: what is unknown is tried again, and nothing else")


@contextmanager
def _opened(plan: CurationRecipe) -> Iterator[Dataset]:
    """The samples of a recipe; drawn scenes are gone afterwards, and the same when they are drawn again."""
    from capwright.data import open_dataset

    scenes = plan.data.scenes
    if scenes is None:
        yield open_dataset(str(plan.data.path), plan.data.split)
        return
    from capwright.runs.drawn_scenes import draw_scenes

    with TemporaryDirectory() as scratch:
        with counting("drawing scenes") as progress:
            draw_scenes(scenes, Path(scratch, "scenes"), progress)
        yield open_dataset(Path(scratch, "scenes"), plan.data.split)


def _preview(steps: list[Any], samples: Dataset) -> None:
    """Say what would be done and asked."""
    from capwright.curation import StepRun
    from capwright.curation.runner import through_steps
    from capwright.judges.client.cost_estimate import CostEstimate

    costs = CostEstimate()
    for _ in through_steps([step.estimating(costs) for step in steps], samples, StepRun(estimates=True)):
        pass
    show(f"{len(samples):,} samples; the steps:")
    for step in steps:
        show(f"  {step.signature}")
    if costs.found:
        print_costs(costs)
    else:
        show("no step asks a server or a model, so nothing would be paid")
