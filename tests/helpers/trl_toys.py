"""A tiny LLaVA, six images and rewards with known answers for the tests of the TRL adapter.

Importable; `python trl_toys.py MODEL OUT` trains a few steps, under torchrun on several processes, and writes what came
out to OUT/rank-N.json.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub import constants
from PIL import Image
from trl import GRPOConfig

from capwright.recipes.stages import Imitation
from capwright.training.rewards import Rewards
from capwright.training.trl import RSRSTrainer, dataset, reward_functions
from capwright.types import Sample

PROMPT = "describe this"
constants.HF_HUB_DISABLE_TELEMETRY = True  # TRL reports the trainers it makes


@dataclass
class Values:
    values: object


def samples(folder: Path, n: int = 6) -> list[Sample]:
    """Images of one color each; `references` is what an expert says about them."""
    found = []
    for i in range(n):
        path = folder / f"{i}.png"
        if not path.exists():
            Image.new("RGB", (40, 40), (40 * i, 90, 255 - 40 * i)).save(path)
        found.append(Sample(f"s{i}", path, references=("A geoboard is on the left.",)))
    return found


def rewards(*views, weights=None, gates=None) -> Rewards:
    k = len(views)
    names = [f"r{i}" for i in range(k)]
    return Rewards(dict(zip(names, views)), weights or (1.0,) * k, gates or (True,) * k, (0.0,) * k)


def says(word: str):
    """1 where the caption has the word."""
    return lambda samples, captions: Values([[float(word in c.text) for c in group] for group in captions])


def everywhere(value: float):
    return lambda samples, captions: Values([[value for _ in group] for group in captions])


def config(out: Path, **options) -> GRPOConfig:
    small = dict(
        output_dir=str(out), per_device_train_batch_size=4, num_generations=4, max_completion_length=6, max_steps=3,
        learning_rate=1e-2, lr_scheduler_type="constant", use_cpu=True, bf16=False, gradient_checkpointing=False,
        report_to=[], save_strategy="no", logging_steps=1, disable_tqdm=True, log_multimodal=False, seed=0,
    )  # fmt: skip
    return GRPOConfig(**(small | options))


def trainer(model: Path, folder: Path, given: Rewards, imitation: Imitation | None = None, kind=RSRSTrainer, **options):
    """A trainer on fresh weights. `options` are GRPOConfig's."""
    folder.mkdir(parents=True, exist_ok=True)
    data = samples(folder)
    own = {"imitation": imitation} if kind is RSRSTrainer else {}
    functions = reward_functions(given, data)
    return kind(str(model), functions, config(folder / "out", **options), dataset(data, PROMPT), **own)


def weights(of) -> torch.Tensor:
    return torch.cat([p.detach().flatten().double() for p in of.accelerator.unwrap_model(of.model).parameters()])


def speak(it: RSRSTrainer) -> None:
    """Instead of sampling: what is said depends on the image and the place in its group, not on the process."""

    def generate(prompts):
        asked, images, _ = it._tokenize_prompts(prompts)
        first = it.accelerator.process_index * len(prompts)
        places = [((first + i) % it.num_generations, int(Path(shown[0]).stem)) for i, shown in enumerate(images)]
        ids = [[10 + 7 * image + place, *[40 + 3 * place] * (place + 1)] for place, image in places]
        said = [[{"role": "assistant", "content": ""}] for _ in ids]
        return asked, ids, None, said, None, {}, images, []

    it._generate = generate


def main(model: Path, out: Path) -> None:
    """Two of six images never fail, so both terms of the loss are there; on two processes a group straddles them."""

    def view(samples, captions):
        live = [s.id in ("s0", "s3") for s in samples]
        return Values([[float(sum(c.tokens) % 5) * yes for c in group] for yes, group in zip(live, captions)])

    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    it = trainer(
        model, out, rewards(view), Imitation(batch=3), per_device_train_batch_size=12 // world, max_steps=4,
        learning_rate=1e-3,
    )  # fmt: skip
    speak(it)
    it.train()
    told = {key: [row[key] for row in it.state.log_history if key in row] for key in ("rsrs/live", "rsrs/imitated")}
    told |= {"weights": weights(it).tolist(), "waiting": list(it.buffer)}
    out.mkdir(exist_ok=True)
    (out / f"rank-{rank}.json").write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
