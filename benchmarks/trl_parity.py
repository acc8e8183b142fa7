"""Where TRL's trainer and ours have the same numbers, and how far apart they are where ours differ on purpose.

    python benchmarks/trl_parity.py [--quick] [--json FILE]

TRL's side is TRL's own code (1.16, Python 3.11 or newer): its trainer on a tiny LLaVA, given completions, rewards and,
for losses, log-probabilities. `apart` columns are the largest absolute differences.

    advantages  GRPO, Dr.GRPO, DAPO and GDPO with one to four weighted rewards, all groups live
    loss        the same methods, when the policy has moved; and its gradient
    adapter     RSRSTrainer on a live, a failed, a saturated and an unknown group, against our formulas on the live one
    constant    GDPO of four groups that say nothing, each at values of its own: the largest advantage
    dead        GDPO with dead groups beside four live ones: how many times as large the live advantages are
    shrunk      two dead groups beside two live ones: how large the gradient is, at the same advantages
    unknown     the advantage of a caption with an unknown reward where all are equally good
    down        all rewards unknown beside a 0: the largest advantage, and how many images wait to be imitated
    images      how often images pass through TRL's image processor in two steps

Nothing is timed.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "helpers"))

from trl import GRPOTrainer

import tiny_models
import trl_toys
from capwright.recipes.stages import Imitation
from capwright.training import advantages
from capwright.training.losses import loss_denominator, policy_loss, token_weights
from capwright.training.trl import RSRSTrainer
from results_file import print_rows, write_results

Row = dict[str, Any]
GDPO = {"multi_objective_aggregation": "normalize_then_sum"}
#: name: what TRL is told, our advantages, our normalizer
METHODS: dict[str, tuple[Row, Callable[..., Tensor], str]] = {
    "grpo": ({"loss_type": "grpo"}, advantages.grpo, "sequence"),
    "dr_grpo": ({"loss_type": "dr_grpo", "scale_rewards": "none"}, advantages.dr_grpo, "constant"),
    "dapo": ({"loss_type": "dapo", "epsilon_high": 0.28}, advantages.grpo, "token"),
    "gdpo": ({"loss_type": "dapo", **GDPO}, advantages.gdpo, "token"),
}
SIZES = ((2, 1), (8, 1), (4, 2), (8, 4), (5, 3))  # captions, rewards
CONSTANT = ((8, 1), (8, 4), (8, 5), (7, 2), (16, 4))
LONGEST = 6


class Bench:
    """Makes trainers whose completions are fixed and whose rewards are a table [images, captions, rewards]."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = tiny_models.write_llava(folder / "llava")

    def trainer(self, rewards: Tensor, kind: type = RSRSTrainer, weights: Any = None, **options: Any) -> Any:
        """(trainer, the rows of one generation)."""
        images, captions, count = rewards.shape
        table: dict[tuple[int, ...], list[float]] = {}
        views = [
            lambda samples, said, k=k: trl_toys.Values([[table[each[0].tokens][k]] for each in said])
            for k in range(count)
        ]
        size = {"per_device_train_batch_size": images * captions, "num_generations": captions}
        it = trl_toys.trainer(
            self.model, self.folder, trl_toys.rewards(*views, weights=weights), Imitation(batch=50), kind,
            max_completion_length=LONGEST, **(size | options),
        )  # fmt: skip
        if weights is not None:
            it.reward_weights = torch.tensor(weights)
        rng = random.Random(0)
        rows = [it.train_dataset[i % 6] for i in range(images) for _ in range(captions)]
        ids = [[10 + i // 200, 10 + i % 200, *rng.choices(range(10, 250), k=rng.randint(0, LONGEST - 2))]
               for i in range(len(rows))]  # fmt: skip
        table.update({tuple(said): row.tolist() for said, row in zip(ids, rewards.flatten(0, 1))})

        def generate(prompts: Any) -> tuple:
            asked, seen, _ = it._tokenize_prompts(prompts)
            texts = [[{"role": "assistant", "content": ""}] for _ in prompts]
            return asked, ids, None, texts, None, {}, seen, []

        it._generate = generate
        it.model.train()
        return it, rows

    def advantages(self, rewards: Tensor, kind: type = GRPOTrainer, **options: Any) -> Tensor:
        it, rows = self.trainer(rewards, kind, **options)
        return it._generate_and_score_completions(rows)["advantages"].double().view(rewards.shape[:2])


def draw(images: int, captions: int, rewards: int = 1, seed: int = 0) -> Tensor:
    return torch.rand(images, captions, rewards, generator=torch.Generator().manual_seed(seed)).round(decimals=2)


def apart(ours: Tensor, theirs: Tensor) -> float:
    return float((ours.double() - theirs.double()).abs().max())


def same_advantages(bench: Bench) -> list[Row]:
    rows = []
    for name, (told, method, _) in METHODS.items():
        for captions, count in SIZES:
            rewards, weights = draw(3, captions, count), [1.0, 0.25, 2.0, 0.5][:count]
            theirs = bench.advantages(rewards, weights=weights, **told)
            row = {"part": "advantages", "method": name, "captions": captions, "rewards": count}
            rows.append({**row, "apart": apart(method(rewards, torch.tensor(weights)), theirs)})
    return rows


def same_loss(bench: Bench) -> list[Row]:
    """Ratios from 0.5 to 2, on both sides of both clips, and signs of the advantage with each."""
    rows = []
    for name, (told, _, normalizer) in METHODS.items():
        it, generation = bench.trainer(draw(3, 4, 2), GRPOTrainer, **told)
        batch = it._generate_and_score_completions(generation)
        shape, rng = batch["completion_mask"].shape, torch.Generator().manual_seed(1)
        old = -3 * torch.rand(shape, generator=rng)
        new = (old + 1.4 * torch.rand(shape, generator=rng) - 0.7).requires_grad_()
        it._get_per_token_logps_and_entropies = lambda *_, new=new, **__: (new, torch.zeros_like(new), None)
        it.current_gradient_accumulation_steps = 1
        theirs = it._compute_loss(it.model, batch | {"old_per_token_logps": old})
        high = told.get("epsilon_high", 0.2)
        ours = our_loss(new, old, batch["advantages"], batch["completion_mask"], normalizer, high)
        rows.append({"part": "loss", "method": name, **both_apart(ours, theirs, new)})
    return rows


def our_loss(new: Tensor, old: Tensor, signal: Tensor, mask: Tensor, normalizer: str, high: float = 0.2, captions=4):
    groups = (-1, captions, mask.shape[1])
    mask = mask.bool().view(groups)
    weights = token_weights(mask, normalizer, loss_denominator(mask, normalizer, LONGEST))
    return policy_loss(new.view(groups), old.view(groups), signal.view(-1, captions), weights, 0.2, high)


def both_apart(ours: Tensor, theirs: Tensor, of: Tensor) -> Row:
    mine, other = (torch.autograd.grad(loss, of, retain_graph=True)[0] for loss in (ours, theirs))
    found = {"apart": apart(ours.detach(), theirs.detach()), "gradient_apart": apart(mine, other)}
    return {**found, "gradient": float(other.abs().max())}


def adapter(bench: Bench, cuts: list[tuple[int, int, int]]) -> list[Row]:
    rows = []
    rewards = draw(4, 8, 2)
    rewards[1], rewards[2], rewards[3, 5, 1] = 0.0, 0.7, torch.nan
    for name, (told, _, normalizer) in METHODS.items():
        for accumulation, slices, updates in cuts:
            it, generation = bench.trainer(
                rewards, per_device_train_batch_size=32 // slices, gradient_accumulation_steps=accumulation,
                steps_per_generation=slices, num_iterations=updates, **told,
            )  # fmt: skip
            it.current_gradient_accumulation_steps = accumulation
            total, seen = torch.zeros(()), []
            for _ in range(slices):
                inputs = it._prepare_inputs(generation)
                it._step += 1
                logs = it._get_per_token_logps_and_entropies(it.model, *model_inputs(inputs))[0]
                seen.append((logs, inputs["advantages"], inputs["completion_mask"]))
                total = total + it.compute_loss(it.model, inputs) * accumulation / slices
            logs, signal, mask = (torch.cat(each) for each in zip(*seen))
            live = mask.bool().any(1)
            ours = our_loss(logs[live], logs[live].detach(), signal[live], mask[live], normalizer, captions=8)
            row = {"part": "adapter", "method": name, "accumulation": accumulation, "slices": slices}
            found = both_apart(ours, total, it.model.lm_head.weight)
            rows.append({**row, "updates": updates, "live": int(live.sum()), **found})
    return rows


def model_inputs(inputs: Row) -> tuple:
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
    seen = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
    rest = (None, False, False, inputs["pixel_values"], None, inputs["num_images"])
    return ids, seen, inputs["completion_ids"].shape[1], *rest


def constant(bench: Bench) -> list[Row]:
    rows = []
    for captions, count in CONSTANT:
        rewards = draw(4, 1, count, seed=1).expand(4, captions, count)
        theirs = bench.advantages(rewards, loss_type="dapo", **GDPO).abs().max()
        ours = bench.advantages(rewards, RSRSTrainer, loss_type="dapo", **GDPO).abs().max()
        row = {"part": "constant", "method": "gdpo", "captions": captions, "rewards": count}
        rows.append({**row, "trl": float(theirs), "capwright": float(ours)})
    return rows


def dead(bench: Bench) -> list[Row]:
    rows, live = [], draw(4, 8, 2)
    alone = bench.advantages(live, **GDPO)
    for count in (4, 12):
        rewards = torch.cat([live, torch.zeros(count, 8, 2)])
        theirs, ours = bench.advantages(rewards, **GDPO)[:4], advantages.gdpo(rewards)[:4]
        growth = {"trl": float(theirs.norm() / alone.norm()), "capwright": float(ours.norm() / alone.norm())}
        rows.append({"part": "dead", "method": "gdpo", "live": 4, "dead": count, **growth})
    return rows


def shrunk(bench: Bench) -> list[Row]:
    live, rows = draw(2, 4, 1, seed=3), []
    for name, (told, _, _) in METHODS.items():
        row: Row = {"part": "shrunk", "method": name, "live": 2, "dead": 2}
        for side, kind in {"trl": GRPOTrainer, "capwright": RSRSTrainer}.items():
            norms = []
            for rewards in (live, torch.cat([live, torch.zeros(2, 4, 1)])):
                it, generation = bench.trainer(rewards, kind, **told)
                batch = it._generate_and_score_completions(generation)
                batch["advantages"][:8] = advantages.grpo(live).flatten().float()
                it.current_gradient_accumulation_steps = 1
                loss = it.compute_loss(it.model, batch)
                norms.append(float(torch.autograd.grad(loss, it.model.lm_head.weight)[0].norm()))
            row[side] = norms[1] / norms[0]
        rows.append(row)
    return rows


def unknown(bench: Bench) -> list[Row]:
    group = [[1.0, 1.0], [1.0, 1.0], [1.0, torch.nan], [1.0, 1.0]]
    rewards = torch.tensor([group, [[0.0, 0.0]] * 3 + [[1.0, 1.0]]])
    theirs, zero = (bench.advantages(rewards.nan_to_num(value))[0, 2] for value in (torch.nan, 0.0))
    down = torch.stack([torch.full((3, 4), torch.nan), torch.zeros(3, 4)], -1)
    it, generation = bench.trainer(down)
    it._generate_and_score_completions(generation)
    return [
        {"part": "unknown", "method": "grpo", "trl": float(theirs), "trl_of_0": float(zero),
         "capwright": float(advantages.grpo(rewards)[0, 2])},
        {"part": "down", "method": "grpo", "trl": float(bench.advantages(down).abs().max()), "waiting": len(it.buffer)},
    ]  # fmt: skip


def images(bench: Bench) -> list[Row]:
    """Two steps of TRL's own training, two images each, eight captions of an image."""
    it = trl_toys.trainer(
        bench.model, bench.folder, trl_toys.rewards(trl_toys.says("e")), kind=GRPOTrainer, max_steps=2,
        per_device_train_batch_size=16, num_generations=8,
    )  # fmt: skip
    processor, seen = it.processing_class.image_processor, []
    inner = type(processor).__call__

    def counted(self: Any, images: Any, *args: Any, **named: Any) -> Any:
        seen.append(leaves(images))
        return inner(self, images, *args, **named)

    processor.__class__ = type("Counted", (type(processor),), {"__call__": counted})
    it.train()
    return [{"part": "images", "images": 4, "captions": 8, "steps": 2, "trl": sum(seen)}]


def leaves(images: Any) -> int:
    return sum(map(leaves, images)) if isinstance(images, (list, tuple)) else 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the adapter on one way to cut a step")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to FILE")
    arguments = parser.parse_args()
    cuts = [(a, slices, updates) for a in (1, 2) for slices in (1, 2, 4) for updates in (1, 2)]
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        rows = [*same_advantages(bench), *same_loss(bench), *adapter(bench, cuts[:1] if arguments.quick else cuts)]
        for part in (constant, dead, shrunk, unknown, images):
            rows += part(bench)
    print_rows(rows)
    if arguments.json:
        write_results(arguments.json, rows, seeds=[0], peers=["trl"])


if __name__ == "__main__":
    main()
