"""What does GDPO make of groups whose captions all earned the same? The formulas of TRL and ms-swift beside ours.

    python benchmarks/constant_groups.py [--quick] [--seed S] [--json FILE]

The advantages of such groups should be 0, and those of other groups should not depend on how many of them there are.
TRL's and ms-swift's formulas are those of their trainers (TRL 1.16.0 with
multi_objective_aggregation="normalize_then_sum", ms-swift with scale_rewards="gdpo"), in float32 as there. Of verl its
own function is called; without it (`pip install verl==0.9.1`) its rows are left out. What they return is rounding
noise divided by its own size, so digits differ between processors.

    constant    the largest advantage in batches of 16 groups, all constant, each at its own values
    beside one  the largest advantage of 15 constant groups beside one live group
    dead        the standard deviation of the advantages of 4 live groups, by how many groups there are
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from capwright.training import advantages
from results_file import write_results


def trl(rewards: Tensor) -> Tensor:
    """1e-4 beside both standard deviations."""
    return written_out(rewards, 1e-4, 1e-4)


def swift(rewards: Tensor) -> Tensor:
    """1e-8 beside both standard deviations."""
    return written_out(rewards, 1e-8, 1e-8)


def written_out(rewards: Tensor, inner: float, outer: float) -> Tensor:
    """Advantages [P, G] of rewards [P, G, K]: each normalized in its group, summed, whitened over the whole batch."""
    normal = (rewards - rewards.nanmean(1, keepdim=True)) / (nanstd(rewards) + inner)
    total = normal.sum(2)
    return (total - total.mean()) / (total.std() + outer)


def nanstd(rewards: Tensor) -> Tensor:
    """As both libraries have it: the mean of squares by nanmean, then made unbiased by the count."""
    count = rewards.shape[1]
    variance = (rewards - rewards.nanmean(1, keepdim=True)).square().nanmean(1, keepdim=True)
    return (variance * (count / (count - 1))).sqrt()


def verl(rewards: Tensor) -> Tensor:
    """What verl does with captions of one token each."""
    groups, captions, count = rewards.shape
    names = [f"reward {k}" for k in range(count)]
    one_token = torch.ones(groups * captions, 1)
    found, _ = verl_gdpo(
        one_token,
        one_token,
        np.repeat(np.arange(groups), captions),
        config={"gdpo_reward_keys": names},
        non_tensor_batch=dict(zip(names, rewards.flatten(0, 1).T.numpy())),
        batch={"prompts": one_token, "attention_mask": torch.ones(groups * captions, 2, dtype=torch.long)},
    )
    return found.view(groups, captions)


METHODS: dict[str, Callable[[Tensor], Tensor]] = {"TRL": trl, "ms-swift": swift, "capwright": advantages.gdpo}
try:
    from verl.trainer.ppo.core_algos import compute_gdpo_outcome_advantage as verl_gdpo
except ImportError:
    print("verl is left out: it is not installed")
else:
    METHODS["verl"] = verl
#: (captions of an image, rewards)
SIZES = ((7, 1), (8, 4), (16, 4), (5, 2), (7, 2), (8, 2), (12, 2))


def constant(groups: int, captions: int, rewards: int, rng: torch.Generator) -> Tensor:
    return torch.rand(groups, 1, rewards, generator=rng).expand(groups, captions, rewards)


def measure(batches: int, seed: int) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for method, advantage in METHODS.items():
        rng = torch.Generator().manual_seed(seed)
        for captions, rewards in SIZES:
            draws = [advantage(constant(16, captions, rewards, rng)) for _ in range(batches)]
            rows.append(row("constant", method, captions, rewards, batches, largest=highest(draws)))
        draws = []
        for _ in range(batches):
            live = torch.rand(1, 7, 2, generator=rng)
            draws.append(advantage(torch.cat([live, constant(15, 7, 2, rng)]))[1:])
        rows.append(row("beside one", method, 7, 2, batches, largest=highest(draws)))
        for groups in (4, 16, 32):
            live = torch.rand(4, 8, 2, generator=torch.Generator().manual_seed(seed))
            values = torch.cat([live, torch.zeros(groups - 4, 8, 2)])
            rows.append(row("dead", method, 8, 2, 1, groups=groups, spread=float(advantage(values)[:4].std())))
    every = [(captions, rewards) for captions in range(2, 18) for rewards in range(1, 6)]
    rng = torch.Generator().manual_seed(seed)
    ours = [advantages.gdpo(constant(16, captions, rewards, rng)) for captions, rewards in every]
    return [*rows, {"part": "every size", "method": "capwright", "sizes": len(every), "largest": highest(ours)}]


def row(part: str, method: str, captions: int, rewards: int, batches: int, **found: float) -> dict[str, object]:
    return {"part": part, "method": method, "captions": captions, "rewards": rewards, "batches": batches, **found}


def highest(draws: list[Tensor]) -> float:
    return max(float(draw.abs().max()) for draw in draws)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3 batches of each size")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the rewards")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to FILE")
    arguments = parser.parse_args()
    rows = measure(3 if arguments.quick else 100, arguments.seed)
    for each in rows:
        print(
            "  ".join(
                f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in each.items()
            )
        )
    if arguments.json:
        write_results(arguments.json, rows, seeds=[arguments.seed], peers=["verl"])


if __name__ == "__main__":
    main()
