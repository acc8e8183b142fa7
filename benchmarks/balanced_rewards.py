"""Which reward teaches what? CIDEr-D, CapRL, BalCapRL and its ingredients, on the built-in kindergarten.

    python benchmarks/balanced_rewards.py [--quick] [--seeds 0 1 2] [--arms NAME ...] [--json FILE] [--runs DIR]

  warm-up      imitation of casual captions, where all others start from
  CIDEr-D      reinforcement by likeness to casual captions, the kind of reference that most data sets have
  CIDEr-D+     by likeness to captions of an expert, which name every toy right and leave nothing out
  CapRL        by answers to questions alone (recipes/caprl-scenes.yaml)
  CapRL-8      the same with 8 questions drawn for each caption in place of all
  BalCapRL     by precision, recall and language, each normalized by itself (recipes/balcaprl-scenes.yaml)
  summed       the same rewards added up before they are normalized
  -precision, -recall, -language, -mask      BalCapRL without one ingredient

All see the same images in the same number of steps and are measured on images of the test split, whose questions no
reward has asked, by greedy decoding. `answers` is the share of questions answered right from the caption, `precision`
and `recall` those of BalCapRL's claims, `language` the offline scorer, b-CapScore the harmonic mean of the last three.
Scores are pooled over seeds; intervals are 95 % bootstrap intervals over images (all seeds of an image together), those
of differences paired. They do not cover the choice of seeds, so differences of each seed stand beside them.
Finished runs in --runs are not repeated. FILE gets the row of an arm as soon as its runs are there.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from capwright.data import open_dataset, read_captions
from capwright.evaluation import bootstrap_sums, evaluate, intervals, prepare_scorers
from capwright.recipes import Recipe, load_recipe
from capwright.runs.pipeline import run_recipe
from capwright.scenes import build
from capwright.scorers import get_scorer
from results_file import append_row, keep_origin, origin_of

IMAGES = 300  # of the test split
ARMS = (
    *("warm-up", "CIDEr-D", "CIDEr-D+", "CapRL", "CapRL-8"),
    *("BalCapRL", "summed", "-precision", "-recall", "-language", "-mask"),
)
#: column: scorer and output.
COLUMNS = {
    "answers": ("caprl", "accuracy"),
    "precision": ("balcap", "precision"),
    "recall": ("balcap", "recall"),
    "language": ("balcap", "language"),
    "b_capscore": ("balcap", "b_capscore"),
    "ciderD": ("ciderD", "ciderD"),
    "names": ("tts", "micro"),
    "words": ("length", "words"),
}


#: What the papers say, as pairs of arms and the columns in which the first should be ahead.
CLAIMS = (
    ("CapRL", "warm-up", ("answers", "precision", "language", "words")),
    ("CapRL", "CIDEr-D", ("answers",)),
    ("CapRL", "CIDEr-D+", ("answers",)),
    ("CapRL", "CapRL-8", ("answers", "precision")),
    ("BalCapRL", "warm-up", ("precision", "recall", "language", "b_capscore")),
    ("BalCapRL", "CapRL", ("answers", "precision", "language", "b_capscore")),
    ("BalCapRL", "summed", ("precision", "recall", "language", "b_capscore")),
    ("BalCapRL", "-precision", ("precision",)),
    ("BalCapRL", "-recall", ("recall",)),
    ("BalCapRL", "-language", ("language",)),
    ("BalCapRL", "-mask", ("language", "words")),
)


def recipe_of(arm: str, seed: int, scenes: Path, quick: bool) -> Recipe:
    """A shipped recipe, changed as little as the arm asks for."""
    name = "caprl-scenes" if arm.startswith("C") else "balcaprl-scenes"
    stage = name.removesuffix("-scenes")
    path = casual(scenes) if arm == "CIDEr-D" else scenes
    settings = [f"seed={seed}", f"data.path={path}", f"data.eval_limit={IMAGES}", f"stages.{stage}.eval_every=null"]
    if quick:
        settings += ["stages.warmup.steps=3", f"stages.{stage}.steps=3", "data.eval_limit=40"]
    plan = load_recipe(name, settings).model_dump(mode="json")
    plan["evaluation"]["scorers"] = ["length"]  # measured here, all arms alike
    plan["evaluation"]["options"] = {}
    rewards = plan["rewards"]
    if arm == "warm-up":
        plan["stages"] = plan["stages"][:1]
    elif arm.startswith("CIDEr-D"):
        plan["rewards"] = {"ciderD": {"gate": False}}
    elif arm == "CapRL-8":
        rewards["caprl"]["options"] = {"judge": "lexical", "mode": "paper", "n": 8}
    elif arm == "summed":
        plan["stages"][1]["advantage"] = "grpo"
    elif arm == "-mask":
        rewards["language"]["only_if"] = None
    elif arm.startswith("-"):
        del rewards[arm[1:]]
        next(iter(rewards.values()))["gate"] = True
    return Recipe.model_validate(plan)


def casual(scenes: Path) -> Path:
    """The same scenes with casual captions for references."""
    return scenes.with_name("casual")


def make_scenes(count: int, scenes: Path) -> None:
    """Draw the scenes, and write them again with casual references, where that was not done before."""
    if not scenes.exists():
        build(count, 1, scenes)
    if casual(scenes).exists():
        return
    new = scenes.with_name("casual.new")
    shutil.copytree(scenes, new, dirs_exist_ok=True)
    samples = [json.loads(line) for line in (scenes / "samples.jsonl").read_text(encoding="utf-8").splitlines()]
    lines = [json.dumps(sample | {"references": sample["meta"]["casual"]}) for sample in samples]
    (new / "samples.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    new.rename(casual(scenes))


def run(arm: str, seed: int, scenes: Path, out: Path, quick: bool) -> Path:
    """Train one arm with one seed, or find that it was."""
    name = arm.lower().replace("+", "-experts")
    folder = out / f"{'no' if arm.startswith('-') else ''}{name}-{seed}"
    if not (folder / "summary.json").exists():
        keep_origin(folder)
        run_recipe(recipe_of(arm, seed, scenes, quick), folder, resume=(folder / "recipe.yaml").exists())
    return folder


@dataclass(frozen=True)
class Number:
    """A column of an arm: all seeds together, each seed, and draws of images, the same ones for every arm."""

    value: float
    seeds: list[float]
    draws: np.ndarray

    def __sub__(self, other: Number) -> Number:
        seeds = [a - b for a, b in zip(self.seeds, other.seeds)]
        return Number(self.value - other.value, seeds, self.draws - other.draws)

    def row(self) -> dict[str, Any]:
        low, high = intervals(self.draws[:, None])
        return {"value": self.value, "low": float(low[0]), "high": float(high[0]), "seeds": self.seeds}


def measure(folders: list[Path], samples: Any, rulers: Any) -> dict[str, Number]:
    """Every column of an arm, from the captions of its runs."""
    found = []
    for folder in folders:
        last = load_recipe(folder / "recipe.yaml").stages[-1].name
        found.append(evaluate(samples, read_captions(folder / "captions" / f"{last}.jsonl"), rulers, replicates=0))
    columns = {}
    for column, (name, output) in COLUMNS.items():
        scores = [evaluation.scores[name] for evaluation in found]
        scorer, place = scores[0].scorer, scores[0].context.outputs.index(output)
        rows = np.stack([score.rows for score in scores])  # [seeds, images, k]
        seeds = [float(value) for value in scorer.finalize(rows.sum(1))[:, place]]
        draws = scorer.finalize(bootstrap_sums(rows.sum(0), 2000, seed=0))[:, place]
        columns[column] = Number(float(scorer.finalize(rows.sum((0, 1)))[place]), seeds, draws)
    return columns


def write(row: dict[str, Any], column: str, sign: str = "") -> str:
    digits = 1 if column in ("names", "words") else 2 if column == "ciderD" else 3
    value, low, high = (f"{row[column + end]:{sign}.{digits}f}" for end in ("", "_low", "_high"))
    return f"{value} [{low}, {high}]"


def row_of(arm: str, over: str | None, numbers: dict[str, Number]) -> dict[str, Any]:
    """A flat record of an arm, or of its difference to another one."""
    row: dict[str, Any] = {"arm": arm, "over": over}
    for column, number in numbers.items():
        found = number.row()
        row |= {column: found["value"], **{f"{column}_{key}": found[key] for key in ("low", "high", "seeds")}}
    return row


def differences(arms: dict[str, dict[str, Number]]) -> list[dict[str, Any]]:
    """A row of each claim whose arms are there."""
    return [
        row_of(one, other, {column: arms[one][column] - arms[other][column] for column in columns})
        for one, other, columns in CLAIMS
        if one in arms and other in arms
    ]


def show(rows: list[dict[str, Any]]) -> None:
    print(f"\n{'':11}" + "".join(f"{column:>22}" for column in COLUMNS))
    for row in (row for row in rows if row["over"] is None):
        print(f"{row['arm']:11}" + "".join(f"{write(row, column):>22}" for column in COLUMNS))
    print("\ndifferences, and those of each seed")
    for row in (row for row in rows if row["over"] is not None):
        for column in (column for column in COLUMNS if column in row):
            seeds = " ".join(f"{value:+.3f}" for value in row[f"{column}_seeds"])
            name = f"{row['arm']} over {row['over']}"
            print(f"{name:26}{column:12}{write(row, column, '+'):>26}   {seeds}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    parser.add_argument("--quick", action="store_true", help="one seed, a handful of steps: does it run?")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, each on its share of the threads")
    parser.add_argument("--runs", type=Path, default=Path("runs/balanced-rewards"))
    arguments = parser.parse_args()
    seeds = arguments.seeds[:1] if arguments.quick else arguments.seeds
    out = arguments.runs / "quick" if arguments.quick else arguments.runs
    scenes = out / "scenes"
    make_scenes(400 if arguments.quick else 5000, scenes)
    os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // arguments.jobs))  # read by the new processes
    samples = open_dataset(scenes, "test")[: 40 if arguments.quick else IMAGES]
    balcap = get_scorer("balcap", language=["references", "meta.casual"])
    scorers = [get_scorer("caprl", mode="all-questions"), balcap, "ciderD", "tts", "length"]
    rulers = prepare_scorers(samples, scorers, open_dataset(scenes).vocabulary)

    def keep(row: dict[str, Any], folders: list[Path]) -> None:
        rows.append(row)
        if arguments.json:
            append_row(arguments.json, row | origin_of(folders), ("arm", "over"), seeds=seeds)

    rows: list[dict[str, Any]] = []
    with ProcessPoolExecutor(arguments.jobs, get_context("spawn")) as pool:
        started = {
            arm: [pool.submit(run, arm, seed, scenes, out, arguments.quick) for seed in seeds] for arm in arguments.arms
        }
        arms, folders = {}, {}
        for arm, runs in started.items():
            folders[arm] = [each.result() for each in runs]
            arms[arm] = measure(folders[arm], samples, rulers)
            keep(row_of(arm, None, arms[arm]), folders[arm])
    for row in differences(arms):
        keep(row, folders[row["arm"]] + folders[row["over"]])
    show(rows)


if __name__ == "__main__":
    main()
