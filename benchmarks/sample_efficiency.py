"""How soon are names learned? TTS against images seen and against seconds, on the built-in kindergarten.

    python benchmarks/sample_efficiency.py [--quick] [--seeds 0 1 2] [--mixed-precision bf16] [--json FILE] [--runs DIR]

  GRPO         images on which every caption earns the same teach nothing (recipes/grpo-scenes.yaml)
  DAPO         its dynamic sampling (arXiv 2503.14476): further images are looked at until as many teach as were asked
               for, at most four batches a step
  RSRS-paper   images on which every caption fails are imitated, and nothing else
  RSRS         an expert caption is one more member of each group, too (recipes/rsrs-scenes.yaml)

All go on from the same captioner, warmed up once (with seed 0), with the same images and captions a step, learning rate
and seeds. They differ in where expert captions go, in what becomes of groups that teach nothing, and in clip.high (0.28
for DAPO), which never acts with one update a step. All have the same budget of images seen, so DAPO, which looks at
more of them in a step, takes fewer optimizer steps: `updates` says how many.

TTS (micro) is that of greedy captions of the first images of the test split, measured again and again during training;
`never` is its part for names that casual captions never say. `live` is the share of groups that taught anything since
the measurement before. Seconds are of training without measurements; they can be compared when nothing else runs, so
--jobs is 1. Between two measurements the curve is a straight line; numbers are means over seeds, and a score counts as
reached when all seeds reached it.
Finished runs in --runs are not repeated. FILE gets the rows of an arm as soon as its runs are there: its curves, and a
`summary` of each seed and of all, which is what is printed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from capwright.data import open_dataset
from capwright.evaluation import prepare_scorers
from capwright.evaluation.scoring import flat_scores
from capwright.recipes import Recipe, load_recipe
from capwright.runs import Progress, train
from capwright.runs.callbacks import Observer
from capwright.scenes import build
from results_file import append_rows, keep_origin, origin_of

#: By arm: a shipped recipe, and what changes in its last stage. recipes/dapo-scenes.yaml is more than resampling: it
#: also punishes length, leaves truncated captions out, and takes two updates a step.
ARMS: dict[str, tuple[str, dict[str, Any]]] = {
    "GRPO": ("grpo-scenes", {}),
    "DAPO": (
        "grpo-scenes",
        {
            "name": "dapo",
            "kind": "rl",
            "on_failed": "resample",
            "resample_rounds": 3,
            "clip": {"low": 0.2, "high": 0.28},
        },
    ),
    "RSRS-paper": ("rsrs-scenes", {"demonstrations": []}),
    "RSRS": ("rsrs-scenes", {}),
}
SCORES = (40, 50, 60)  # how soon is each reached?


@dataclass(frozen=True)
class Size:
    """How much is spent: scenes drawn, images measured, steps of the warm-up, images seen by an arm, and steps between
    measurements."""

    scenes: int
    measured: int
    warmup: int
    budget: int
    every: int

    @property
    def marks(self) -> list[int]:
        """The budgets of the table."""
        return [self.budget // part for part in (8, 4, 2, 1)]


FULL = Size(scenes=5000, measured=200, warmup=40, budget=5120, every=5)
QUICK = Size(scenes=400, measured=40, warmup=3, budget=256, every=2)


class Spent(Exception):
    """The budget of images is used up."""


class Purse(Progress):
    """Ends a run as soon as the budget is spent and the captioner has been measured."""

    def __init__(self, budget: int, every: int) -> None:
        self.budget, self.every = budget, every

    def step(self, row: dict[str, Any]) -> None:
        if row["images_seen"] >= self.budget and row["step"] % self.every == 0:
            raise Spent


def alone(name: str, place: int, seed: int, scenes: Path, precision: str, size: Size, keys: dict[str, Any]) -> Recipe:
    """A shipped recipe with one of its stages, `keys` of it set, measured on the test split."""
    settings = [f"seed={seed}", f"data.path={scenes}", "data.eval_split=test", f"model.mixed_precision={precision}"]
    settings += ["evaluation.scorers=[tts]", f"evaluation.probe_limit={size.measured}"]
    plan = load_recipe(name, settings).model_dump(mode="json")
    plan["stages"] = [plan["stages"][place] | keys]
    return Recipe.model_validate(plan)


def recipe_of(arm: str, seed: int, scenes: Path, precision: str, size: Size) -> Recipe:
    """The recipe of an arm, with steps for the whole budget even if no step looks at further images."""
    name, keys = ARMS[arm]
    every = max(1, size.every // 2) if arm == "DAPO" else size.every  # its steps look at more images
    images = load_recipe(name).stages[-1].images_per_step
    steps = every * math.ceil(size.budget / (images * every))  # the last step is measured
    return alone(name, -1, seed, scenes, precision, size, {**keys, "steps": steps, "eval_every": every})


def warm_up(scenes: Path, out: Path, precision: str, size: Size) -> Path:
    """Train the captioner that all arms and seeds start from, or find that it was."""
    keys = {"steps": size.warmup, "eval_every": size.warmup}
    recipe = alone("rsrs-scenes", 0, 0, scenes, precision, size, keys)
    follow(recipe, out, Progress())
    return out / "checkpoints" / recipe.stages[0].name


def run(arm: str, seed: int, scenes: Path, start: Path, out: Path, precision: str, size: Size) -> Path:
    """Train one arm with one seed until its budget is spent, or find that it was."""
    recipe = recipe_of(arm, seed, scenes, precision, size)
    recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"name": str(start)})})
    folder = out / f"{arm.lower()}-{seed}"
    follow(recipe, folder, Purse(size.budget, recipe.stages[0].eval_every or 1))
    return folder


def follow(recipe: Recipe, folder: Path, progress: Progress) -> None:
    """Train with measurements in between; what is finished is not repeated, what was interrupted goes on."""
    if (folder / "finished").exists():
        return
    keep_origin(folder)
    whole = open_dataset(str(recipe.data.path))
    samples = whole.split(recipe.data.eval_split)
    rulers = prepare_scorers(samples, recipe.evaluation.scorers, whole.vocabulary, recipe.evaluation.options)
    observer = Observer(recipe, folder, samples, rulers, progress)
    with contextlib.suppress(Spent):
        train(recipe, out=folder, resume=(folder / "recipe.yaml").exists(), progress=progress, probe=observer.probe)
    (folder / "finished").touch()


def journal(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def records_of(arm: str, seed: int, folder: Path, warm: Path) -> list[dict[str, Any]]:
    """One record a measurement; the first is of the captioner that all arms start from."""
    first = {"images_seen": 0, "elapsed": 0.0, "step": 0, "scores": journal(warm)[-1]["scores"]}
    records: list[dict[str, Any]] = []
    updates = live = groups = 0
    for row in [first | {"kind": "eval"}, *journal(folder)]:
        if row["kind"] == "step":
            updates += row["loss"] is not None
            live, groups = live + row["groups"]["live"], groups + sum(row["groups"].values())
            continue
        scores = {name: value for name, (_, value) in flat_scores(row["scores"]).items()}
        records.append(
            {
                "part": "curve",
                "arm": arm,
                "seed": seed,
                "images_seen": row["images_seen"],
                "seconds": row["elapsed"],
                "step": row["step"],
                "updates": updates,
                "tts_micro": scores["tts.micro"],
                "tts_never": scores.get("tts.tier:never"),
                "live_share": round(live / groups, 4) if groups else None,
            }
        )
        live = groups = 0
    return records


def score_at(curve: list[dict[str, Any]], images: int, key: str = "tts_micro") -> float:
    """The score after so many images; NaN where the curve ends before or has a hole."""
    seen = [record["images_seen"] for record in curve]
    values = [np.nan if record[key] is None else record[key] for record in curve]
    return float(np.interp(images, seen, values, right=np.nan))


def seconds_to(curve: list[dict[str, Any]], score: float) -> float:
    """Seconds of training until the score is first reached; NaN when it never is."""
    if curve[0]["tts_micro"] >= score:
        return 0.0
    for before, after in pairwise(curve):
        low, high = before["tts_micro"], after["tts_micro"]
        if high >= score:
            share = (score - low) / (high - low)
            return float(before["seconds"] + share * (after["seconds"] - before["seconds"]))
    return float("nan")


def summary(arm: str, seed: int | str, curves: list[list[dict[str, Any]]], size: Size) -> dict[str, Any]:
    """A line of the table: means over the runs of an arm, NaN where not all of them have the number."""

    def mean(values: list[float]) -> float:
        return float(np.mean(values))

    row: dict[str, Any] = {"part": "summary", "arm": arm, "seed": seed, "step": None, "budget": size.budget}
    row |= {f"tts_{mark}": mean([score_at(curve, mark) for curve in curves]) for mark in size.marks}
    row["never"] = mean([score_at(curve, size.budget, "tts_never") for curve in curves])
    row |= {f"seconds_to_{score}": mean([seconds_to(curve, score) for curve in curves]) for score in SCORES}
    row["live"] = mean([mean([record["live_share"] for record in curve[1:]]) for curve in curves])
    return row | {key: mean([score_at(curve, size.budget, key) for curve in curves]) for key in ("updates", "seconds")}


def show(rows: list[dict[str, Any]], size: Size) -> None:
    """One line an arm."""
    print(f"\n{'':11}{'TTS after so many images':>32}{'':8}{'seconds to TTS':>27}")
    marks, times = [f"tts_{mark}" for mark in size.marks], [f"seconds_to_{score}" for score in SCORES]
    heads = [*size.marks, "never", *SCORES, "live", "updates", "seconds"]
    print(f"{'':11}" + "".join(f"{head:>9}" for head in heads))
    for row in rows:
        cells = [(row[key], 1) for key in (*marks, "never")] + [(row[key], 0) for key in times]
        cells += [(row["live"], 2), (row["updates"], 0), (row["seconds"], 0)]
        words = ["unknown" if math.isnan(value) else f"{value:.{digits}f}" for value, digits in cells]
        print(f"{row['arm']:11}" + "".join(f"{word:>9}" for word in words))
    print(
        f"\nnever, updates, seconds: after {size.budget:,} images. DAPO looks at more of them in a step and so makes"
        "\nfewer updates of them. unknown: not reached by all seeds."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the records to this file")
    parser.add_argument("--quick", action="store_true", help="one seed, a handful of steps: does it run?")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument(
        "--mixed-precision", default="no", choices=["no", "bf16"], help="bf16 saves a third of the time"
    )
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time; more than 1 disturb each other's seconds")
    parser.add_argument("--runs", type=Path, default=Path("runs/sample-efficiency"))
    arguments = parser.parse_args()
    size = QUICK if arguments.quick else FULL
    seeds = arguments.seeds[:1] if arguments.quick else arguments.seeds
    out = arguments.runs / "quick" if arguments.quick else arguments.runs
    scenes, warm = out / "scenes", out / "warmup"
    if not scenes.exists():
        build(size.scenes, 1, scenes)
    threads = max(1, (os.cpu_count() or 1) // arguments.jobs)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # read by the new processes
    rows = []
    with ProcessPoolExecutor(arguments.jobs, get_context("spawn")) as pool:
        precision = arguments.mixed_precision
        start = pool.submit(warm_up, scenes, warm, precision, size).result()
        started = {
            arm: [pool.submit(run, arm, seed, scenes, start, out, precision, size) for seed in seeds]
            for arm in arguments.arms
        }
        for arm, runs in started.items():
            folders = [each.result() for each in runs]
            curves = [records_of(arm, seed, folder, warm) for seed, folder in zip(seeds, folders)]
            found = [summary(arm, seed, [curve], size) for seed, curve in zip(seeds, curves)]
            rows.append(summary(arm, "all", curves, size))
            if arguments.json:
                found += [rows[-1], *(record for curve in curves for record in curve)]
                found = [row | origin_of([*folders, warm]) for row in found]
                append_rows(arguments.json, found, ("part", "arm", "seed", "step"), seeds=seeds, precision=precision)
    show(rows, size)


if __name__ == "__main__":
    main()
