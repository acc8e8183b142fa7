"""A run of the toy captioner in a process of its own: `python toy_run.py OUT [resume] [dawdle] [VARIANT]`."""

from __future__ import annotations

import sys
import time

from capwright.recipes import parse_recipe
from capwright.runs import train
from capwright.types import CapwrightError
from toy_captioner import says, toy_materials

RECIPE = {
    "name": "toy",
    "data": {"path": "toy"},
    "rewards": {"tts": None},
    "stages": [
        {"name": "warmup", "kind": "sft", "steps": 8, "images_per_step": 4, "target": "meta.casual",
         "checkpoint_every": 3},
        {
            "name": "rsrs", "kind": "rsrs", "steps": 30, "images_per_step": 6, "captions_per_image": 4,
            "learning_rate": 0.05, "imitation": {"batch": 2}, "sampling": {"max_tokens": 6}, "checkpoint_every": 4,
            "eval_every": 10, "schedule": "cosine", "warmup_steps": 3, "inner_epochs": 2, "kl": {"beta": 0.01},
        },
    ],
}  # fmt: skip


#: Changes of the second stage, by name.
VARIANTS = {
    "gdpo": {"advantage": "gdpo", "micro_batch": 1, "kl": {"beta": 0.01, "estimator": "k2"}, "inner_epochs": 1},
    "mean": {
        "kind": "rl", "advantage": "mean_baseline", "surrogate": "reinforce", "inner_epochs": 1, "micro_tokens": 40,
        "normalizer": "constant", "kl": {"beta": 0.01, "place": "reward", "estimator": "k1"},
    },
    "scst": {"kind": "rl", "advantage": "scst", "captions_per_image": 1, "on_failed": "resample", "kl": {"beta": 0.0}},
    "tiny": {"images_per_step": 1},
    "accumulate": {"micro_batch": 1, "normalizer": "sequence"},
    "shown": {"demonstrations": ["reference"], "demonstration_weight": 2.0, "micro_batch": 2},
}  # fmt: skip


def materials(**options):
    """A captioner that says what is rewarded at times, so that groups are live, failed and saturated."""
    return toy_materials(**{"views": {"tts": says("blue", name=True)}} | options)


def variant(name):
    """The recipe, with one of `VARIANTS`."""
    return {**RECIPE, "stages": [RECIPE["stages"][0], RECIPE["stages"][1] | VARIANTS.get(name, {})]}


def run(out, resume=False, dawdle=0.0, recipe=RECIPE, **options):
    class Slow:
        def say(self, text): ...
        def start(self, stage, steps, done): ...
        def close(self): ...
        def step(self, row):
            print(row["stage"], row["step"], flush=True)
            time.sleep(dawdle)

    given = {"materials": materials(), "progress": Slow(), "probe": lambda policy, stage, step: {"scores": {}}}
    return train(parse_recipe(recipe), out=out, resume=resume, **given | options)


if __name__ == "__main__":
    try:
        two = {"views": {"tts": says("blue", name=True), "rug": says("rug")}} if "gdpo" in sys.argv else {}
        run(
            sys.argv[1], "resume" in sys.argv, 0.03 if "dawdle" in sys.argv else 0.0, variant(sys.argv[-1]),
            materials=materials(**two),
        )  # fmt: skip
    except CapwrightError as error:
        sys.exit(str(error))
