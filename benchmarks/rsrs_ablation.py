"""What teaches names? Five ways to spend the same number of images, on the built-in kindergarten.

    python benchmarks/rsrs_ablation.py [--quick] [--seeds 0 1 2] [--mixed-precision bf16] [--json FILE] [--runs DIR]

  SFT          imitation of casual captions only
  GRPO         reinforcement only, from the base captioner on
  SFT->GRPO    warm-up, then reinforcement; images on which every caption fails teach nothing
  SFT->RSRS    warm-up, then reinforcement; images on which every caption fails are imitated (recipes/rsrs-scenes.yaml)
  SFT->expert  warm-up, then imitation of an expert caption of every image: what RSRS would be without reinforcement

All see the same number of images, start from the embedded captioner, and are measured on images of the test split by
greedy decoding. `experts` is the number of expert captions that were read, the expensive thing in practice.
Scores are pooled over seeds; intervals are 95 % bootstrap intervals over images (all seeds of an image together), and
`spread` gives the lowest and the highest seed. Finished runs in --runs are not repeated.
"""

from __future__ import annotations

import argparse
import json
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from capwright.cli.run import run_recipe
from capwright.data import open_dataset, read_captions
from capwright.evaluation import Evaluation, bootstrap_sums, evaluate, intervals, prepare_scorers
from capwright.recipes import Recipe, load_recipe
from capwright.scenes import build

TIERS = ("frequent", "common", "occasional", "rare", "never")
IMAGES = 300  # of the test split, measured after every stage
ARMS = ("SFT", "GRPO", "SFT->GRPO", "SFT->RSRS", "SFT->expert")


def recipe_of(arm: str, seed: int, scenes: Path, precision: str, quick: bool) -> Recipe:
    """The shipped recipe with its stages cut to one arm; every arm sees as many images as the whole recipe."""
    settings = [f"seed={seed}", f"data.path={scenes}", f"data.eval_limit={IMAGES}", "stages.rsrs.eval_every=null"]
    settings.append(f"model.mixed_precision={precision}")
    if quick:
        settings += ["stages.warmup.steps=3", "stages.rsrs.steps=3", "data.eval_limit=40"]
    whole = load_recipe("rsrs-scenes", settings)
    plan = whole.model_dump(mode="json")
    warmup, rsrs = plan["stages"]
    grpo = {key: value for key, value in rsrs.items() if key not in ("imitation", "on_failed")} | {"kind": "grpo"}
    alone = {"steps": warmup["steps"] + rsrs["steps"]}
    expert = warmup | {"name": "expert", "target": "references", "steps": rsrs["steps"]}
    plan["stages"] = {
        "SFT": [warmup | alone],
        "GRPO": [grpo | alone | {"name": "grpo"}],
        "SFT->GRPO": [warmup, grpo | {"name": "grpo"}],
        "SFT->RSRS": [warmup, rsrs],
        "SFT->expert": [warmup, expert],
    }[arm]
    return Recipe.model_validate(plan)


def run(arm: str, seed: int, scenes: Path, out: Path, precision: str, quick: bool) -> Path:
    """Train one arm with one seed, or find that it was."""
    folder = out / f"{arm.lower().replace('->', '-')}-{seed}"
    if not (folder / "summary.json").exists():
        run_recipe(recipe_of(arm, seed, scenes, precision, quick), folder, resume=(folder / "recipe.yaml").exists())
    return folder


def experts(folder: Path, arm: str) -> int:
    """How many expert captions were imitated."""
    rows = map(json.loads, (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return sum(row["imitated"] for row in rows if row["kind"] == "step" and row["stage"] in ("rsrs", "expert"))


def pooled(evaluations: list[Evaluation]) -> dict[str, Any]:
    """TTS over all seeds: point, interval and spread of every output."""
    measured = [evaluation.scores["tts"] for evaluation in evaluations]
    scorer, names = measured[0].scorer, measured[0].context.outputs
    rows = sum(m.rows for m in measured)
    low, high = intervals(scorer.finalize(bootstrap_sums(rows, 2000, seed=0)))
    points = [scorer.finalize(m.rows.sum(0)) for m in measured]
    return {
        name: {
            "value": float(scorer.finalize(rows.sum(0))[i]),
            "low": float(low[i]),
            "high": float(high[i]),
            "spread": [float(min(p[i] for p in points)), float(max(p[i] for p in points))],
        }
        for i, name in enumerate(names)
    }


def row_of(arm: str, folders: list[Path], samples: Any, rulers: Any) -> dict[str, Any]:
    evaluations = []
    for folder in folders:
        last = load_recipe(folder / "recipe.yaml").stages[-1].name
        rows = read_captions(folder / "captions" / f"{last}.jsonl")
        evaluations.append(evaluate(samples, rows, rulers, replicates=0, name=arm))
    found = pooled(evaluations)
    summaries = [json.loads((folder / "summary.json").read_text(encoding="utf-8")) for folder in folders]
    row: dict[str, Any] = {"benchmark": "rsrs_ablation", "arm": arm, "seeds": len(folders)}
    for output in ("micro", "precision", *(f"tier:{tier}" for tier in TIERS)):
        key = output.replace("tier:", "")
        row |= {key: round(found[output]["value"], 1)}
        row |= {f"{key}_{end}": round(found[output][end], 1) for end in ("low", "high")}
        row |= {f"{key}_seeds_{end}": round(found[output]["spread"][i], 1) for i, end in enumerate(("low", "high"))}
    row["experts"] = round(sum(experts(folder, arm) for folder in folders) / len(folders))
    row["images_seen"] = summaries[0]["run"]["images_seen"]
    return row


def show(rows: list[dict[str, Any]]) -> None:
    print(
        f"\n{'':12} {'TTS micro':>22} {'seeds':>13} {'precision':>9}"
        + "".join(f"{t:>11}" for t in TIERS)
        + f"{'experts':>9}"
    )
    for row in rows:
        micro = f"{row['micro']:.1f} [{row['micro_low']:.1f}, {row['micro_high']:.1f}]"
        seeds = f"{row['micro_seeds_low']:.1f}-{row['micro_seeds_high']:.1f}"
        tiers = "".join(f"{row[tier]:>11.1f}" for tier in TIERS)
        print(f"{row['arm']:12} {micro:>22} {seeds:>13} {row['precision']:>9.1f}{tiers}{row['experts']:>9}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    parser.add_argument("--quick", action="store_true", help="one seed, a handful of steps: does it run?")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    parser.add_argument(
        "--mixed-precision", default="no", choices=["no", "bf16"], help="bf16 saves a third of the time"
    )
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, each on its share of the threads")
    parser.add_argument("--runs", type=Path, default=Path("runs/rsrs-ablation"))
    arguments = parser.parse_args()
    seeds = arguments.seeds[:1] if arguments.quick else arguments.seeds
    out = arguments.runs / "quick" if arguments.quick else arguments.runs
    scenes = out / "scenes"
    if not scenes.exists():
        build(400 if arguments.quick else 5000, 1, scenes)
    os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // arguments.jobs))  # read by the new processes
    with ProcessPoolExecutor(arguments.jobs, get_context("spawn")) as pool:
        started = {
            (arm, seed): pool.submit(run, arm, seed, scenes, out, arguments.mixed_precision, arguments.quick)
            for seed in seeds
            for arm in arguments.arms
        }
        folders = {arm: [started[arm, seed].result() for seed in seeds] for arm in arguments.arms}
    samples = open_dataset(scenes, "test")[: 40 if arguments.quick else IMAGES]
    rulers = prepare_scorers(samples, ["tts"], open_dataset(scenes).vocabulary)
    rows = [row_of(arm, folders[arm], samples, rulers) for arm in arguments.arms]
    show(rows)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
