"""What the scorer `language`, without a judge, says of single sentences and of manners that it did not learn.

    python benchmarks/language_manners.py [--quick] [--parts examples manners captioner reward] [--json FILE]

    examples   the checks of a few sentences, learned from 4,000 images of COCO val2017
    manners    expert and casual captions of scenes of the built-in kindergarten, learned from those of 2,000 others
    captioner  greedy captions of the embedded captioner for 40 test scenes, learned from the captions of these scenes
    reward     a short training: after a warm-up with casual captions ten steps with tts and language as rewards

Nothing is timed. In FILE rows of other parts stay as they were.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from capwright.captioning.caption_files import caption_rows
from capwright.data import open_dataset
from capwright.models import load_policy
from capwright.recipes import Recipe, load_recipe
from capwright.runs.pipeline import run_recipe
from capwright.scenes import build, casual_captions, expert_captions, sample_scene
from capwright.scorers import Corpus, Item
from capwright.scorers.fluency.language import Language
from capwright.types import NO_IMAGE, Sample, SamplingParams
from language_check import coco
from results_file import append_rows, print_rows

CHECKS = ("flow", "known", "ending", "plain", "fresh")
SENTENCES = (
    "A man riding a horse on the beach.",
    "A geoboard on a table.",
    "A man riding a horse on the",
    "man horse beach",
    "Dog, cat, table, chair.",
    "A horse a horse a horse a horse.",
    "horse a the on beach riding man a",
)
#: What good captions are, by the name of a row.
LEARNED = {"references": ["references"], "references and casual": ["references", "meta.casual"]}
REWARDS = {
    "tts": {"weight": 1.0, "gate": True},
    "language": {
        "weight": 0.5,
        "gate": False,
        "options": {"learn_from": LEARNED["references and casual"]},
        "only_if": {"of": "length_ratio", "at_least": 0.5, "at_most": 2.0},
    },
}

Row = dict[str, object]


def examples(quick: bool) -> list[Row]:
    learned = coco(400 if quick else 4000, 1)[1]
    scorer = Language()
    context = scorer.prepare(Corpus([Sample(str(i), NO_IMAGE, tuple(group)) for i, group in enumerate(learned)]))
    items = [Item(Sample("", NO_IMAGE), text) for text in SENTENCES]
    scores = scorer.finalize(scorer.stats(items, context).rows)[:, -1].tolist()
    return [
        {"part": "examples", "captions": text, "learned_from": "references", "images": len(learned), "language": score}
        | {check: found[check] for check in CHECKS}
        for text, score, found in zip(SENTENCES, scores, scorer.explain(items, context))
    ]


def manners(quick: bool) -> list[Row]:
    count, others = (200, 50) if quick else (2000, 1000)
    scenes = [sample_scene(1, index) for index in range(count + others)]
    samples = [
        Sample(str(i), NO_IMAGE, tuple(expert_captions(scene)), meta={"casual": casual_captions(scene)})
        for i, scene in enumerate(scenes)
    ]
    said = {
        "expert": [sample.references[0] for sample in samples[count:]],
        "casual": [sample.meta["casual"][0] for sample in samples[count:]],
    }
    return [
        {"part": "manners", "captions": name, "learned_from": source, "scenes": count, "texts": others}
        | {"language": score_of(texts, samples[:count], fields)}
        for source, fields in LEARNED.items()
        for name, texts in said.items()
    ]


def captioner(quick: bool) -> list[Row]:
    count = 20 if quick else 40
    with tempfile.TemporaryDirectory() as folder:
        samples = list(open_dataset(build(10 * count, 1, Path(folder) / "scenes"), "test"))[:count]
        rows = caption_rows(load_policy("embedded"), samples, SamplingParams(temperature=0.0, max_tokens=64))
        said = [row["caption"] for row in rows]
    return [
        {"part": "captioner", "captions": "embedded", "learned_from": source, "scenes": len(samples)}
        | {"language": score_of(said, samples, fields)}
        for source, fields in LEARNED.items()
    ]


def score_of(texts: Sequence[str], learned: Sequence[Sample], fields: Sequence[str]) -> float:
    scorer = Language(learn_from=fields)
    context = scorer.prepare(Corpus(learned))
    items = [Item(Sample("", NO_IMAGE), text) for text in texts]
    return float(scorer.finalize(scorer.stats(items, context).rows.sum(0))[-1])


def reward(quick: bool) -> list[Row]:
    steps = 2 if quick else 10
    settings = ["data.scenes.n=1000", "data.eval_limit=10", "stages.warmup.steps=10", f"stages.balcaprl.steps={steps}"]
    plan = load_recipe("balcaprl-scenes", settings).model_dump(mode="json")
    plan |= {"rewards": REWARDS, "evaluation": {"scorers": ["length"]}}
    with tempfile.TemporaryDirectory() as folder:
        run_recipe(Recipe.model_validate(plan), Path(folder) / "run")
        lines = (Path(folder) / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    found = [row for row in map(json.loads, lines) if row["kind"] == "step" and row["stage"] == "balcaprl"]
    stage = plan["stages"][-1]
    size = {"images": stage["images_per_step"], "group": stage["captions_per_image"]}
    size |= {"learned_from": "references and casual"}
    return [{"part": "reward", "captions": f"step {row['step']}", **size, **row["reward"]} for row in found]


PARTS: dict[str, Callable[[bool], list[Row]]] = {part.__name__: part for part in (examples, manners, captioner, reward)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few texts, and two steps of training")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS, metavar="PART", help="which of these")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to FILE")
    arguments = parser.parse_args()
    rows = [row for part in arguments.parts for row in PARTS[part](arguments.quick)]
    print_rows(rows)
    if arguments.json:
        append_rows(arguments.json, rows, ("part", "captions", "learned_from"))


if __name__ == "__main__":
    main()
