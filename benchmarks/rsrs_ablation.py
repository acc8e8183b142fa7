"""When to imitate, and when RSRS? Every way of spending the same images, in kindergartens of every kind.

    python benchmarks/rsrs_ablation.py [--worlds NAME ...] [--warmups casual expert] [--arms NAME ...] [--seeds 0 1 2]
                                       [--cells goal perfect ...] [--jobs 2] [--json FILE] [--quick]

A captioner is warmed up on captions by casual speakers or by experts (40 steps) and goes on for 160 steps of 32 images:

  nothing             the warm-up alone
  casual imitation    more captions by casual speakers
  imitation           captions by experts, as they are
  imitation, as long  the same for 400 steps, which take about as long as 160 steps of RSRS
  imitation, faster   with RSRS's learning rate, 3e-4 in place of 2e-4; corrected, faster: the same of what comes next
  corrected           captions by experts in which vague words were replaced by the annotated names beforehand, where
                      it is clear which one is meant: the strongest control where captions are vaguer than labels
  GRPO                reinforcement; images on which every caption fails teach nothing
  RSRS-paper          what arXiv 2604.01941 says: images on which every caption fails are imitated, as soon as 8 wait
  RSRS                recipes/rsrs-scenes.yaml: the best expert caption is one more member of each group
  imitation, RSRS     half of the steps each; gently: with a third of RSRS's learning rate

and options of RSRS, one at a time. Worlds (`WORLDS`) turn the knobs of docs/scenes.md. All runs see the same number of
images and are measured by greedy decoding on 300 images of the test split, which always has the whole truth.

Every arm is trained on one thread, `--jobs` of them at a time; its row is written to the result file as soon as it is
done, and arms that have a row are not run again (`--again` does). Interrupted arms go on where they were. Rows carry
hits and wrong names of every image, so that benchmarks/rsrs_map.py pools seeds and makes intervals, paired tests and
the image from the result file alone. `seconds` are CPU seconds of training.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from results_file import append_rows, find_row, keep_origin, origin_of

RESULTS = Path(__file__).parent / "results" / "rsrs_ablation.json"
KEY = ("world", "warmup", "arm", "seed", "steps")
SCENES, IMAGES = 5000, 300  # scenes drawn; images of the test split that are measured
PROBES = 80  # steps between two measurements
GENTLE = 1e-4  # learning rate of RSRS after imitation, in place of 3e-4
FAST = 3e-4  # learning rate of RSRS, tried with imitation, whose own is 2e-4
LONGER = 400  # steps of imitation that take about as long as 160 of RSRS

#: What differs from the plain kindergarten; see docs/scenes.md.
WORLDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "naming 0.8": {"naming": 0.8},
    "naming 0.6": {"naming": 0.6},
    "naming 0.3": {"naming": 0.3},
    "tail": {"tail": 1.0},
    "tail, naming 0.8": {"tail": 1.0, "naming": 0.8},
    "tail, naming 0.6": {"tail": 1.0, "naming": 0.6},
    "tail, naming 0.3": {"tail": 1.0, "naming": 0.3},
    "tail, naming 0.6, omission": {"tail": 1.0, "naming": 0.6, "omission": 1.0},
    "tail, naming 0.6, variety": {"tail": 1.0, "naming": 0.6, "variety": 0.5},
    "tail, naming 0.6, noise": {"tail": 1.0, "naming": 0.6, "label_noise": 0.2},
    "tail, no experts": {"tail": 1.0, "experts": 0},
    "tail, 50 experts": {"tail": 1.0, "experts": 50},
    "tail, 200 experts": {"tail": 1.0, "experts": 200},
    "tail, 800 experts": {"tail": 1.0, "experts": 800},
}
WARMUPS = {"casual": "meta.casual", "expert": "references"}
#: Options of RSRS, each changed alone.
OPTIONS: dict[str, dict[str, Any]] = {
    "RSRS-paper": {"demonstrations": []},
    "RSRS corrected": {"demonstrations": ["corrected"]},
    "RSRS relabeled": {"demonstrations": ["relabeled"]},
    "RSRS both": {"demonstrations": ["reference", "relabeled"]},
    "RSRS weight 1": {"demonstration_weight": 1.0},
    "RSRS terms": {"demonstrations": [], "imitation": {"unit": "term", "tokens": "names", "batch": 16}},
    "RSRS two captions": {"demonstrations": [], "imitation": {"captions": 2}},
    "RSRS name credit": {"credit": "names"},
    "RSRS penalty 2": {"penalty": 2.0},
}
ARMS = (
    *("nothing", "casual imitation", "imitation", "imitation, faster", "imitation, as long"),
    *("corrected", "corrected, faster", "GRPO", "RSRS"),
    *("imitation, RSRS", "imitation, RSRS gently"),
    *OPTIONS,
)
MAIN = ("imitation", "corrected", "GRPO", "RSRS-paper", "RSRS")
#: What is run when nothing is said, in this order: worlds, warm-ups, arms, seeds. Three seeds where the claims are.
CELLS: dict[str, tuple[Sequence[str], Sequence[str], Sequence[str], Sequence[int]]] = {
    "goal": (
        ["tail, naming 0.6"],
        ["expert"],
        ["nothing", *MAIN, "RSRS corrected", "imitation, faster", "corrected, faster"], [0, 1, 2],
    ),
    "perfect": (
        ["plain"],
        ["expert"],
        ["nothing", "imitation", "imitation, faster", "RSRS", "imitation, RSRS", "imitation, RSRS gently"], [0, 1, 2],
    ),
    "time": (["tail, naming 0.6", "plain"], ["expert"], ["imitation, as long"], [0]),
    "casual": (
        ["plain", "tail, naming 0.6"],
        ["casual"],
        ["nothing", "casual imitation", "imitation", "GRPO", "RSRS-paper", "RSRS", "imitation, RSRS"], [0],
    ),
    "border": (
        ["naming 0.8", "naming 0.6", "naming 0.3", "tail", "tail, naming 0.8", "tail, naming 0.3"],
        ["expert"], ["nothing", "imitation", "RSRS"], [0],
    ),
    "human": (
        ["tail, naming 0.6, omission", "tail, naming 0.6, variety", "tail, naming 0.6, noise"],
        ["expert"], ["nothing", "imitation", "corrected", "RSRS"], [0],
    ),
    "options": (["tail, naming 0.6"], ["expert"], list(OPTIONS), [0]),
    "penalty": (["tail, naming 0.6"], ["expert"], ["RSRS penalty 2"], [1, 2]),
    "few": (["tail, 50 experts", "tail, 200 experts", "tail, 800 experts"], ["casual"], ["imitation", "RSRS"], [0]),
    "none": (["tail, no experts"], ["casual"], ["nothing", "GRPO", "RSRS relabeled"], [0]),
    "both": (
        ["plain", "tail, naming 0.6"],
        ["expert"], ["casual imitation", "GRPO", "RSRS-paper", "imitation, RSRS"], [0],
    ),
}  # fmt: skip


# data -----------------------------------------------------------------------------------------------------------------


def make_world(name: str, folder: Path, scenes: int) -> Path:
    """The dataset of a world. Images are drawn once a tail; samples have `meta.corrected` beside their references."""
    from capwright.data import write_dataset
    from capwright.scenes import WorldOptions, build, sample_scene, scene_id, to_sample, vocabulary

    options = WorldOptions(**WORLDS[name])
    out, drawn = folder / f"scenes-{_slug(name)}", folder / f"drawn-tail-{options.tail:g}"
    if not drawn.exists():
        build(scenes, 1, drawn, options=WorldOptions(tail=options.tail))
    if not out.exists():
        images = drawn / "images"
        samples = (
            to_sample(sample_scene(1, i, options.tail), images / f"{scene_id(i)}.png", options=options)
            for i in range(scenes)
        )
        draft = write_dataset(corrected(samples), folder / f"draft-{_slug(name)}", vocabulary(), images="keep")
        draft.rename(out)
    return out


def corrected(samples: Any) -> Iterator[Any]:
    """Samples with `meta.corrected`: their references with the annotated names in place of vague words, where it is
    clear which one is meant."""
    from capwright.scenes import vocabulary
    from capwright.scorers import Corpus, get_scorer
    from capwright.training.demonstrations import Relabeler

    words, tts = vocabulary(), get_scorer("tts")
    context, relabel = tts.prepare(Corpus([], words)), Relabeler(words)
    for sample in samples:
        texts = [relabel(t, tts.spans(t, sample, context), sample) or t for t in sample.references]
        yield replace(sample, meta={**sample.meta, "corrected": texts})


# training -------------------------------------------------------------------------------------------------------------


def recipe_of(world: str, warmup: str, arm: str, seed: int, data: Path, model: str, quick: bool) -> Any:
    """The shipped recipe with its stages cut to one arm."""
    from capwright.recipes import Recipe, load_recipe

    plan = load_recipe("rsrs-scenes", [f"seed={seed}", f"data.path={data}"]).model_dump(mode="json")
    plan["model"] |= {"name": model, "mixed_precision": "bf16"}
    warm, rsrs = plan["stages"]
    steps, probes = (3, 3) if quick else (rsrs["steps"], PROBES)
    common = {"eval_every": probes, "checkpoint_every": probes}
    rsrs |= common | {"steps": steps}
    if WORLDS[world].get("experts") == 0:
        rsrs |= {"kind": "rl", "on_failed": "drop"}
    imitation = warm | common | {"name": "imitation", "target": "references", "steps": steps}
    paper = rsrs | {"demonstrations": []}
    grpo = {key: value for key, value in paper.items() if key not in ("imitation", "on_failed")}
    halves = [stage | {"steps": max(1, steps // 2)} for stage in (imitation, rsrs)]
    stages: dict[str, list[dict[str, Any]]] = {
        "warm-up": [warm | {"target": WARMUPS[warmup], "eval_every": 40, "steps": 3 if quick else 40}],
        "casual imitation": [imitation | {"target": "meta.casual"}],
        "imitation": [imitation],
        "imitation, faster": [imitation | {"learning_rate": FAST}],
        "imitation, as long": [imitation | {"steps": 6 if quick else LONGER}],
        "corrected": [imitation | {"target": "meta.corrected"}],
        "corrected, faster": [imitation | {"target": "meta.corrected", "learning_rate": FAST}],
        "GRPO": [grpo | {"kind": "grpo", "name": "grpo"}],
        "RSRS": [rsrs],
        "imitation, RSRS": halves,
        "imitation, RSRS gently": [halves[0], halves[1] | {"learning_rate": GENTLE}],
    }
    if arm in OPTIONS:
        changed = dict(OPTIONS[arm])
        plan["rewards"]["tts"]["options"] = {"penalty": changed.pop("penalty", 1.0)}
        imitated = rsrs["imitation"] | changed.pop("imitation", {})
        stages[arm] = [rsrs | changed | {"imitation": imitated}]
    plan["stages"] = stages[arm]
    return Recipe.model_validate(plan)


class Clock:
    """CPU seconds of training alone; what measuring takes is left out."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds, self._mark = seconds, time.process_time()

    def stop(self) -> None:
        self.seconds += time.process_time() - self._mark

    def go(self) -> None:
        self._mark = time.process_time()


def train_arm(world: str, warmup: str, arm: str, seed: int, out: Path, quick: bool) -> list[dict[str, Any]]:
    """Train one arm, or go on with it; its rows, one a measurement."""
    import torch

    from capwright.data import open_dataset
    from capwright.evaluation import prepare_scorers
    from capwright.runs import Progress, train

    torch.set_num_threads(1)
    data = out / f"scenes-{_slug(world)}"
    start = out / f"{_slug(world)}-{warmup}-{seed}" / "warm-up"
    folder = start if arm == "warm-up" else start.with_name(_slug(arm))
    model = "embedded" if arm == "warm-up" else str(start / "checkpoints" / "warmup")
    samples = open_dataset(data, "test")[: 40 if quick else IMAGES]
    names = open_dataset(data).vocabulary
    measure = partial(measured, samples=samples, rulers=prepare_scorers(samples, ["tts", "ciderD", "language"], names))
    journal = folder / "metrics.jsonl"
    clock = Clock(max((row["scores"]["seconds"] for row in _journal(journal, "eval")), default=0.0))

    def probe(policy: Any, stage: str, step: int) -> dict[str, Any]:
        clock.stop()
        found = measure(policy) | {"seconds": round(clock.seconds, 1)}
        clock.go()
        return {"scores": found}

    def forget(policy: Any, stage: str) -> None:
        clock.go()  # loading is no training

    keep_origin(folder)
    resume = (folder / "recipe.yaml").exists()
    recipe = recipe_of(world, warmup, arm, seed, data, model, quick)
    train(recipe, out=folder, resume=resume, progress=Progress(), after_stage=forget, probe=probe)
    return rows_of(folder, world, warmup, "nothing" if arm == "warm-up" else arm, seed)


def measured(policy: Any, samples: Any, rulers: Any) -> dict[str, Any]:
    """Greedy captions of the samples, as numbers and as digits an image."""
    from capwright.captioning.caption_files import caption_rows
    from capwright.evaluation import evaluate
    from capwright.scenes import ranked_names
    from capwright.types import SamplingParams

    sampling = SamplingParams(temperature=0.0, max_tokens=48)
    captions = {row["id"]: row for row in caption_rows(policy, samples, sampling, batch_size=32)}
    found = evaluate(samples, captions, rulers, replicates=0)
    tts, rarest = found.scores["tts"], set(ranked_names()[-15:])
    names, values = tts.context.outputs, tts.scorer.finalize(tts.rows.sum(0))
    counts: dict[str, list[int]] = {"hits": [], "wrong": [], "never": [], "rarest": []}
    for sample in samples:
        spans = tts.scorer.spans(captions[sample.id]["caption"], sample, tts.context)
        right = [term for term in sample.terms if term.name in {s.term for s in spans if s.status == "right"}]
        counts["hits"].append(len(right))
        counts["wrong"].append(len({s.term for s in spans if s.status == "wrong"}))
        counts["never"].append(sum(term.tier == "never" for term in right))
        counts["rarest"].append(sum(term.name in rarest for term in right))
    scores = {name: round(float(value), 2) for name, value in zip(names, values)}
    others = {name: found.scores[name] for name in ("ciderD", "language")}
    return (
        {"tts": scores["micro"], "precision": scores["precision"]}
        | {name.removeprefix("tier:"): value for name, value in scores.items() if name.startswith("tier:")}
        | {name: round(float(m.scorer.finalize(m.rows.sum(0))[0]), 4) for name, m in others.items()}
        | {f"{name}_by_image": "".join(str(min(9, n)) for n in numbers) for name, numbers in counts.items()}
    )


def rows_of(folder: Path, world: str, warmup: str, arm: str, seed: int) -> list[dict[str, Any]]:
    """The rows of a finished arm: one a measurement, with digits an image at the last one and at step 160."""
    steps, imitated = _journal(folder / "metrics.jsonl", "step"), 0
    evals = {(row["stage"], row["step"]): row for row in _journal(folder / "metrics.jsonl", "eval")}
    rows: list[dict[str, Any]] = []
    for done, row in enumerate(steps, start=1):
        imitated += row["imitated"] + row.get("demonstrated", 0)
        if (found := evals.get((row["stage"], row["step"]))) is None:
            continue
        place = {"world": world, "warmup": warmup, "arm": arm, "seed": seed, "steps": 0 if arm == "nothing" else done}
        known = {"images": row["images_seen"], "experts": imitated, **found["scores"]}
        rows.append({"benchmark": "rsrs_ablation", **place, **known, **origin_of([folder])})
    for row in rows[:-1]:
        if row["steps"] != 160:
            for name in [name for name in row if name.endswith("_by_image")]:
                del row[name]
    return rows


def _journal(path: Path, kind: str) -> list[dict[str, Any]]:
    """The lines of a kind; of repeated ones (a run that went on) the last."""
    if not path.exists():
        return []
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return list({(row["stage"], row["step"]): row for row in rows if row["kind"] == kind}.values())


def _slug(name: str) -> str:
    return name.lower().replace(", ", "-").replace(" ", "-")


# all of it ------------------------------------------------------------------------------------------------------------


def chosen(arguments: argparse.Namespace) -> list[tuple[str, str, str, int]]:
    """(world, warm-up, arm, seed) in the order in which they are run."""
    cells = [CELLS[name] for name in arguments.cells or CELLS]
    if arguments.worlds or arguments.arms:
        cells = [(arguments.worlds or ["plain"], arguments.warmups or ["expert"], arguments.arms or MAIN, [0])]
    found: dict[tuple[str, str, str, int], None] = {}
    for worlds, warmups, arms, seeds in cells:
        for seed in (arguments.seeds or seeds)[: 1 if arguments.quick else None]:
            for world in worlds[: 1 if arguments.quick else None]:
                for warmup in arguments.warmups or warmups:
                    found |= dict.fromkeys((world, warmup, arm, seed) for arm in arms if possible(world, arm))
    return list(found)


def possible(world: str, arm: str) -> bool:
    """Without any expert caption there is nothing to imitate."""
    return WORLDS[world].get("experts") != 0 or arm in ("nothing", "casual imitation", "GRPO", "RSRS relabeled")


def run_all(todo: list[tuple[str, str, str, int]], arguments: argparse.Namespace, done: Callable[..., None]) -> None:
    """Worlds first, then warm-ups, then everything else, several at a time."""
    out = arguments.runs / ("quick" if arguments.quick else "full")
    out.mkdir(parents=True, exist_ok=True)
    for world in dict.fromkeys(place[0] for place in todo):
        print(f"world: {world}", flush=True)
        make_world(world, out, 400 if arguments.quick else SCENES)
    warm = list(dict.fromkeys((world, warmup, "warm-up", seed) for world, warmup, _, seed in todo))
    failed: list[str] = []
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for arms in (warm, [place for place in todo if place[2] != "nothing"]):
            started = {pool.submit(in_a_process, *place, out, arguments.quick): place for place in arms}
            for future in as_completed(started):
                if (error := future.exception()) is None:
                    done(started[future], future.result())
                else:
                    failed.append(f"{', '.join(map(str, started[future]))}: {error}")
                    print(f"FAILED {failed[-1]}", flush=True)
    if failed:
        sys.exit(f"{len(failed)} arms failed; the same command tries them again")


def in_a_process(*arguments: Any) -> list[dict[str, Any]]:
    """`train_arm` in a process of its own, which gives back all its memory."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(train_arm, *arguments).result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", nargs="+", choices=CELLS, help="parts of the map, in this order; all by default")
    parser.add_argument("--worlds", nargs="+", choices=WORLDS, help="in place of cells, with --warmups and --arms")
    parser.add_argument("--warmups", nargs="+", choices=["casual", "expert"])
    parser.add_argument("--arms", nargs="+", choices=ARMS)
    parser.add_argument("--seeds", type=int, nargs="+")
    parser.add_argument("--again", action="store_true", help="also run arms that have a row")
    parser.add_argument("--jobs", type=int, default=2, help="arms at a time, each on one thread")
    parser.add_argument("--json", type=Path, help=f"result file; {RESULTS.name} in benchmarks/results by default")
    parser.add_argument("--quick", action="store_true", help="a handful of steps of one seed: does it run?")
    parser.add_argument("--runs", type=Path, default=Path("runs/rsrs-ablation"), help="where runs go on after a stop")
    arguments = parser.parse_args()
    if arguments.quick and not (arguments.cells or arguments.worlds):
        arguments.cells = ["goal"]
    path = arguments.json or (arguments.runs / "quick.json" if arguments.quick else RESULTS)
    os.environ["OMP_NUM_THREADS"] = "1"  # read by the new processes
    todo = chosen(arguments)
    if not (arguments.again or arguments.quick):
        todo = [place for place in todo if find_row(path, **dict(zip(KEY, place))) is None]
    print(f"{len(todo)} arms to run")

    def done(place: tuple[str, str, str, int], rows: list[dict[str, Any]]) -> None:
        append_rows(path, rows, KEY, seeds=[place[3]])
        last = rows[-1]
        shown = " ".join(f"{name} {last[name]:.1f}" for name in ("tts", "precision", "never"))
        print(f"{', '.join(map(str, place))}: {shown}, {last['seconds']:.0f} s", flush=True)

    run_all(todo, arguments, done)


if __name__ == "__main__":
    main()
