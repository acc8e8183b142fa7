"""How the rewards of a group become a training signal: what becomes of the group, and its advantages. Pure functions.

`route` says of each group whether to learn from it, imitate an expert instead, or leave it.

All take rewards `[P, G]` (one reward) or `[P, G, K]` (K rewards, summed with `weights`): P images, G captions of each.
NaN is an unknown reward: it is left out of every mean, and its caption's advantage is NaN. Rewards of weight 0 do
not count at all, known or not. Advantages are float64 `[P, G]`.

The baseline of `scst` and `mean_baseline` comes from outside the group, so a group of equal rewards can still say
something: that all of it was better or worse than expected. The others compare the captions of a group with each other.
Whether that says anything is decided by an exact test of the group's range, `max - min <= tol`, never by its standard
deviation: rounding noise divided by its own size would otherwise become a full-size signal. Groups that say nothing get
exactly 0, and no group's result depends on how many of those are in the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

#: Rewards of a group that differ by no more than this are the same.
TOLERANCE = 1e-6

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


def scst(rewards: Tensor, weights: Tensor | None = None, *, greedy: Tensor) -> Tensor:
    """r minus the reward of the image's greedy caption: self-critical training (arXiv 1612.00563, eq. 8). G may be 1.

    Args:
        greedy: rewards `[P]` or `[P, K]` of the greedy captions; where one is unknown, so are the advantages.
    """
    total, _, scale = _summed(rewards, weights, TOLERANCE)
    own = greedy.to(total)
    return _against(total, (own if own.dim() == 2 else own.unsqueeze(-1)).unsqueeze(1), scale)


def mean_baseline(rewards: Tensor, weights: Tensor | None = None, *, mean: Tensor) -> Tensor:
    """r minus a running mean of earlier rewards: REINFORCE with a baseline (Williams 1992). G may be 1.

    Args:
        mean: `[]` or `[K]`; of the steps before this one, so that it does not depend on what it judges.
    """
    total, _, scale = _summed(rewards, weights, TOLERANCE)
    return _against(total, torch.as_tensor(mean).to(total).reshape(1, 1, -1), scale)


def grpo(rewards: Tensor, weights: Tensor | None = None, *, eps: float = 1e-4, tol: float = TOLERANCE) -> Tensor:
    """(r - mean) / (std + eps) within the group, std unbiased (arXiv 2402.03300, eq. 3). Rewards are summed first."""
    total, flat, _ = _summed(rewards, weights, tol)
    return _settle(_centered(total) / (_std(total) + eps), flat)


def dr_grpo(rewards: Tensor, weights: Tensor | None = None, *, tol: float = TOLERANCE) -> Tensor:
    """r - mean within the group (arXiv 2503.20783): easy and hard groups are not blown up to unit variance."""
    total, flat, _ = _summed(rewards, weights, tol)
    return _settle(_centered(total), flat)


def rloo(rewards: Tensor, weights: Tensor | None = None, *, tol: float = TOLERANCE) -> Tensor:
    """r minus the mean of the *other* captions of its group (arXiv 2402.14740). One known caption alone gets 0."""
    total, flat, _ = _summed(rewards, weights, tol)
    known = (~total.isnan()).sum(1, keepdim=True)
    return _settle(_centered(total) * known / (known - 1).clamp(min=1), flat)


def gdpo(
    rewards: Tensor, weights: Tensor | None = None, *, eps: float = 1e-4, tol: float = TOLERANCE, whiten: bool = True
) -> Tensor:
    """Each reward normalized within its group, weighted and summed, then whitened (arXiv 2601.05242, eq. 4-7), guarded.

    The guard is ours: a reward without range in a group counts 0 there, and the whitening looks only at groups in which
    some weighted reward has a range. Group means are 0, so whitening divides by the standard deviation alone.

    Args:
        whiten: False leaves out the last step (eq. 6). Its worked example, two captions with reward sums 1 or 2, is
            about this form: (-0.71, 0.71) and (-1.41, 1.41), where GRPO on the sums gives (-0.71, 0.71) for both.
    """
    values = _three(rewards)
    scale = _weights(values, weights)
    flat = (_range(values) <= tol) | (scale == 0)  # [P, 1, K]
    normal = (_centered(values) / (_std(values) + eps)).masked_fill(flat, 0.0)
    total = (normal * scale).sum(2).masked_fill(values[..., scale != 0].isnan().any(2), torch.nan)
    dead = flat.all(2)  # [P, 1]
    if whiten:
        rows = total[(~dead).expand_as(total) & ~total.isnan()]
        total = total / ((rows.std() if rows.numel() > 1 else rows.new_zeros(())) + eps)
    return _settle(total, dead)


def _three(rewards: Tensor) -> Tensor:
    if rewards.dim() not in (2, 3):
        raise ValueError(f"rewards must be [P, G] or [P, G, K], got {list(rewards.shape)}")
    values = rewards.detach().to(torch.float64)
    return values if values.dim() == 3 else values.unsqueeze(-1)


def _weights(values: Tensor, weights: Tensor | None) -> Tensor:
    scale = values.new_ones(values.shape[2]) if weights is None else torch.as_tensor(weights).to(values)
    if len(scale) != values.shape[2]:
        raise ValueError(f"there are {len(scale)} weights for {values.shape[2]} rewards")
    return scale


def _summed(rewards: Tensor, weights: Tensor | None, tol: float) -> tuple[Tensor, Tensor, Tensor]:
    """The weighted sum `[P, G]`; which groups `[P, 1]` are flat, in every reward that counts or in the sum; weights."""
    values = _three(rewards)
    scale = _weights(values, weights)
    used = scale != 0
    values = values[..., used]
    total = (values * scale[used]).sum(2).masked_fill(values.isnan().any(2), torch.nan)
    return total, (_range(values) <= tol).all(2) | (_range(total) <= tol), scale


def _against(total: Tensor, baseline: Tensor, scale: Tensor) -> Tensor:
    """`total` [P, G] minus the weighted sum of a baseline [P or 1, 1, K]."""
    used = scale != 0
    if baseline.shape[-1] != len(scale):
        raise ValueError(f"the baseline has {baseline.shape[-1]} rewards, the captions have {len(scale)}")
    return total - (baseline[..., used] * scale[used]).sum(2)


def _range(values: Tensor) -> Tensor:
    """max - min over the known captions, dimension 1 kept; 0 when none is known."""
    gone = values.isnan()
    high = values.masked_fill(gone, -torch.inf).amax(1, keepdim=True)
    low = values.masked_fill(gone, torch.inf).amin(1, keepdim=True)
    return (high - low).clamp(min=0.0)


def _centered(values: Tensor) -> Tensor:
    return values - values.nanmean(1, keepdim=True)


def _std(values: Tensor) -> Tensor:
    """Unbiased standard deviation over the known captions, dimension 1 kept."""
    known = (~values.isnan()).sum(1, keepdim=True)
    return (_centered(values).square().nansum(1, keepdim=True) / (known - 1).clamp(min=1)).sqrt()


def _settle(advantages: Tensor, flat: Tensor) -> Tensor:
    """Exactly 0 where the group is flat, NaN kept."""
    return torch.where(flat & ~advantages.isnan(), torch.zeros_like(advantages), advantages)
