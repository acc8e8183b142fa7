"""The terms of the loss. Pure functions on `[P, G, T]`: P images, G captions, T tokens.

A term is a sum over tokens with weights that add up to 1 over the whole step (`token_weights`), so it can be computed
in micro-batches of any size: the parts add up to the same loss and the same gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor


def amount(mask: Tensor, normalizer: str) -> int:
    """What a normalizer counts: tokens ("token") or captions that have any token ("sequence")."""
    return int(mask.sum() if normalizer == "token" else mask.any(-1).sum())


def token_weights(mask: Tensor, normalizer: str, total: int) -> Tensor:
    """The weight of each token, 0 outside `mask`.

    Args:
        mask: bool `[P, G, T]`.
        normalizer: "token" gives all tokens the same weight (arXiv 2503.14476); "sequence" gives all captions the same
            weight, so a token of a short caption weighs more (arXiv 2402.03300).
        total: `amount` over the whole step, all micro-batches together.
    """
    weights = mask.to(torch.float32)
    if normalizer == "sequence":
        weights = weights / weights.sum(-1, keepdim=True).clamp(min=1.0)
    return weights / max(total, 1)


def policy_loss(
    logprobs: Tensor, old: Tensor, advantages: Tensor, weights: Tensor, low: float = 0.2, high: float = 0.2
) -> Tensor:
    """The clipped surrogate, `-sum w min(s A, clip(s, 1 - low, 1 + high) A)` with `s = exp(logprobs - old)`.

    PPO (arXiv 1707.06347) with a caption's advantage at each of its tokens; `low != high` is clip-higher (arXiv
    2503.14476). With `old = logprobs.detach()` the ratio is 1 and the gradient that of REINFORCE.

    Args:
        logprobs, old, weights: `[P, G, T]`. Positions of weight 0 must hold finite values.
        advantages: `[P, G]`, no NaN.
    """
    ratio = (logprobs - old).exp()
    signal = advantages.to(ratio).unsqueeze(-1)
    return -(weights * torch.minimum(ratio * signal, ratio.clamp(1.0 - low, 1.0 + high) * signal)).sum()


def kl_k3(logprobs: Tensor, reference: Tensor) -> Tensor:
    """k3 estimate of KL(policy || reference) per token: `exp(d) - d - 1`, `d = reference - logprobs`; never below 0."""
    gap = reference - logprobs
    return gap.exp() - gap - 1.0


def imitation_loss(logprobs: Tensor, weights: Tensor) -> Tensor:
    """Weighted negative log-likelihood of given captions."""
    return -(weights * logprobs).sum()
