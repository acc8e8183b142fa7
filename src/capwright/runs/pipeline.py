"""A whole run: data, captions of the base, every stage with its captions, measurement, summary, report.

    base captions -> stage -> captions -> stage -> captions -> ... -> summary.json -> report.html

Everything lies in one folder, and every part that is complete is kept when the run is resumed.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from capwright.console import counting, say
from capwright.data.append_log import read_rows
from capwright.runs.callbacks import CAPTIONS, CHECKPOINTS, Observer, read_times, systems
from capwright.runs.progress import open_progress
from capwright.runs.resume import check_resume, take_over
from capwright.runs.summary import SUMMARY, measure_stages, starts_of, summarize, write_json
from capwright.types import RecipeError, RunError

if TYPE_CHECKING:
    from capwright.data import Dataset
    from capwright.evaluation import Scoring
    from capwright.recipes import Recipe
    from capwright.scorers import Context, Scorer
    from capwright.training import TrainingSetup

JOURNAL = "metrics.jsonl"
REPORT = "report.html"


def holds_run(out: Path) -> bool:
    """Whether anything was trained or measured in a folder."""
    return (out / JOURNAL).exists() or (out / SUMMARY).exists() or any((out / CHECKPOINTS).glob("state-*"))


def run_recipe(recipe: Recipe, out: Path, *, resume: bool = False) -> Scoring | None:
    """Run a recipe from its data to its report; what was measured, in the first process of several.

    Raises:
        RunError: `out` holds a run and `resume` is not set, or holds another one than `recipe` describes.
        DataError: another job is writing there; and whatever
            training, data and models raise. What was finished stays and is used when the run is resumed.
    """
    from capwright.data.locks import only_one
    from capwright.training.distributed import is_first

    taken = {"base", "comparisons", "signatures", "run"} & {stage.name for stage in recipe.stages}
    if taken:
        raise RecipeError(f"stages: '{taken.pop()}' means something else in a run; choose another name for the stage")
    out.mkdir(parents=True, exist_ok=True)
    with only_one(out, within=True) if is_first() else nullcontext():
        if is_first() and holds_run(out) and not resume:
            raise RunError(
                f"{out}: already holds a run; go on with it by `capwright train --resume {out}`, or choose another "
                "--out"
            )
        return _run(recipe, out, resume)


def _run(recipe: Recipe, out: Path, resume: bool) -> Scoring | None:
    from capwright.evaluation import prepare_scorers
    from capwright.recipes import load_plugins
    from capwright.runs import Progress, build_training_setup, open_data, train
    from capwright.training.distributed import is_first, join

    load_plugins(recipe)
    counter = nullcontext() if recipe.data.scenes is None else counting("drawing scenes")
    with join(recipe).main_process_first(), counter as drawn:
        data = open_data(recipe, out, drawn)
    samples = data.split(recipe.data.eval_split)[: recipe.data.eval_limit]
    how = recipe.evaluation
    rulers = prepare_scorers(samples, how.scorers, data.vocabulary, how.options)
    if resume and is_first():
        check_resume(recipe, out, data.fingerprint)
    if is_first():
        say(f"loading {recipe.model.name}")
    materials = build_training_setup(recipe, out)
    if is_first():
        take_over(recipe, out)
    progress = open_progress() if is_first() else Progress()
    if recipe.data.eval_split == recipe.data.train_split:
        progress.say(f"data.eval_split is '{recipe.data.eval_split}' too: scores will be of images it has learned from")
    observer = Observer(recipe, out, samples, rulers, progress)
    train(
        recipe,
        out=out,
        resume=resume,
        progress=progress,
        after_stage=observer.caption,
        probe=observer.probe,
        materials=materials,
    )
    if not is_first():
        return None
    observer.complete()
    return _conclude(recipe, out, data, samples, rulers, materials)


def _conclude(
    recipe: Recipe,
    out: Path,
    data: Dataset,
    samples: Dataset,
    rulers: Sequence[tuple[Scorer, Context]],
    materials: TrainingSetup,
) -> Scoring:
    """Measure all systems; write summary.json and report.html."""
    import torch

    from capwright.data import read_captions
    from capwright.report import write_report

    wanted = {sample.id for sample in samples}
    rows = {}
    for system in systems(recipe):
        found = read_captions(out / CAPTIONS / f"{system}.jsonl")
        rows[system] = {id: row for id, row in found.items() if id in wanted}
    scoring = measure_stages(recipe, samples, rows, rulers)
    seconds, images = _from_journal(out / JOURNAL)
    captioning = read_times(out / CAPTIONS)
    about = {
        "recipe": recipe.name,
        "seed": recipe.seed,
        "model": recipe.model.name,
        "device": str(materials.policy.device),
        "threads": torch.get_num_threads(),
        "data": place_of(data.root, out),
        "fingerprint": data.fingerprint,
        "split": recipe.data.eval_split,
        "things": things_of(recipe),
        "images_seen": images,
        "trained_on": _reward_signatures(materials),
        "starts": starts_of(recipe),
    }
    times = {"base": captioning.get("base"), **seconds}
    write_json(out / SUMMARY, summarize(scoring, about, times))
    write_report(out, list(samples), title=recipe.name, vocabulary=data.vocabulary or None, things=things_of(recipe))
    return scoring


def things_of(recipe: Recipe) -> str:
    """What is named, in the plural, for the headline of the report."""
    return "teaching toys" if recipe.data.scenes is not None else "things"


def place_of(data: Path, out: Path) -> str:
    """Where a dataset is: relative when it lies in the run folder, so that the folder can be moved."""
    inside = os.path.relpath(data, out)
    return str(data.absolute()) if inside.startswith("..") else inside


def _from_journal(path: Path) -> tuple[dict[str, float | None], dict[str, int]]:
    """Seconds of training by stage, without captions and probes; and images seen until the end of each."""
    seconds: dict[str, float] = defaultdict(float)
    seen: dict[str, int] = {}
    for _, _, row in read_rows(path, hint="remove the line"):
        if row["kind"] == "step":
            seconds[row["stage"]] += row["seconds"]
            seen[row["stage"]] = row["images_seen"]
    return {name: round(value, 3) for name, value in seconds.items()}, seen


def _reward_signatures(materials: TrainingSetup) -> dict[str, str]:
    views = materials.rewards.views if materials.rewards else {}
    return {name: str(getattr(view, "signature", name)) for name, view in views.items()}
