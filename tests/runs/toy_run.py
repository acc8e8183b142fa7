"""A run of the toy captioner in a process of its own: `python toy_run.py OUT [resume] [dawdle]`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))

from toy_captioner import toy_materials

from capwright.recipes import parse_recipe
from capwright.runs import train
from capwright.types import CapwrightError

RECIPE = {
    "name": "toy",
    "data": {"path": "toy"},
    "rewards": {"tts": None},
    "stages": [
        {"name": "warmup", "kind": "sft", "steps": 8, "images_per_step": 4, "target": "meta.casual",
         "checkpoint_every": 3},
        {
            "name": "rsrs", "kind": "rsrs", "steps": 30, "images_per_step": 6, "captions_per_image": 4,
            "learning_rate": 0.05, "imitation": {"batch": 5}, "sampling": {"max_tokens": 6}, "checkpoint_every": 4,
            "eval_every": 10, "schedule": "cosine", "warmup_steps": 3, "inner_epochs": 2, "kl": {"beta": 0.01},
        },
    ],
}  # fmt: skip


def run(out, resume=False, dawdle=0.0, **options):
    class Slow:
        def say(self, text): ...
        def start(self, stage, steps, done): ...
        def close(self): ...
        def step(self, row):
            print(row["stage"], row["step"], flush=True)
            time.sleep(dawdle)

    given = {"materials": toy_materials(), "progress": Slow(), "probe": lambda policy, stage, step: {"scores": {}}}
    return train(parse_recipe(RECIPE), out=out, resume=resume, **given | options)


if __name__ == "__main__":
    try:
        run(sys.argv[1], "resume" in sys.argv, 0.03 if "dawdle" in sys.argv else 0.0)
    except CapwrightError as error:
        sys.exit(str(error))
