"""What becomes of each group of captions: learn from it, imitate an expert instead, or leave it. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from capwright.training.advantages import TOLERANCE, _range, _three

STATES = ("live", "failed", "saturated", "unknown")


@dataclass(frozen=True)
class States:
    """The state of every group of a step: four boolean tensors `[P]`, exactly one of them true for each image.

    Attributes:
        live: rewards differ, so there is something to reinforce.
        failed: every caption is at or below the floor of every gate reward (RSRS, arXiv 2604.01941).
        saturated: all captions are equally good, none failed: nothing to learn.
        unknown: a reward that counts is missing (no terms in the image, a judge that did not answer): never a failure.
    """

    live: Tensor
    failed: Tensor
    saturated: Tensor
    unknown: Tensor

    def counts(self) -> dict[str, int]:
        """How many groups are in each state."""
        return {name: int(getattr(self, name).sum()) for name in STATES}


def route(
    rewards: Tensor,
    *,
    gates: Sequence[bool] | None = None,
    floors: Sequence[float] | Tensor | None = None,
    weights: Sequence[float] | None = None,
    summed: bool = False,
    tol: float = TOLERANCE,
) -> States:
    """Decide the state of every group: unknown before failed before saturated before live.

    Args:
        rewards: `[P, G]` or `[P, G, K]`, NaN where unknown.
        gates: which of the K rewards count for failure; None means all. Without any gate no group fails.
        floors: what a gate reward has to exceed, 0 by default: K numbers, or `[P, K]` where each image has its own.
        weights: rewards with weight 0 do not make a group live; with neither weight nor gate, nor unknown.
        summed: look for spread in the weighted sum (what GRPO learns from) rather than in each reward (GDPO).
        tol: rewards that differ by no more than this are the same.
    """
    values = _three(rewards)
    gate = (
        torch.ones(values.shape[2], dtype=torch.bool) if gates is None else torch.tensor(list(gates), dtype=torch.bool)
    )
    floor = torch.zeros(values.shape[2]) if floors is None else torch.as_tensor(floors)
    floor = floor.to(values).view(-1, 1, values.shape[2])
    scale = values.new_ones(values.shape[2]) if weights is None else values.new_tensor(list(weights))
    used = scale != 0
    unknown = values[..., used | gate].isnan().flatten(1).any(1)
    failed = ~unknown & (values <= floor)[..., gate].flatten(1).all(1)
    if not gate.any():
        failed = torch.zeros_like(unknown)
    seen = (values[..., used] * scale[used]).sum(2, keepdim=True) if summed else values[..., used]
    flat = (_range(seen) <= tol).flatten(1).all(1)
    saturated = ~unknown & ~failed & flat
    return States(~unknown & ~failed & ~flat, failed, saturated, unknown)
