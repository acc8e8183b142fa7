"""The terms of the loss. Pure functions on `[P, G, T]`: P images, G captions, T tokens.

A term is a sum over tokens with weights that add up to 1 over the whole step (`token_weights`), so it can be computed
in micro-batches of any size: the parts add up to the same loss and the same gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor


def loss_denominator(mask: Tensor, normalizer: str, longest: int = 1) -> int:
    """What a normalizer counts over `mask` bool `[P, G, T]`: tokens ("token"), captions that have any token
    ("sequence"), or the tokens there could have been ("constant": those captions times `longest`)."""
    if normalizer == "token":
        return int(mask.sum())
    return int(mask.any(-1).sum()) * (longest if normalizer == "constant" else 1)


def token_weights(mask: Tensor, normalizer: str, total: int) -> Tensor:
    """The weight of each token, 0 outside `mask`.

    Args:
        mask: bool `[P, G, T]`.
        normalizer: "token" gives all tokens the same weight (DAPO, arXiv 2503.14476); "sequence" gives all captions the
            same weight, so a token of a short caption weighs more (GRPO, arXiv 2402.03300); "constant" gives a token
            the same weight however long the captions are (Dr.GRPO, arXiv 2503.20783).
        total: `loss_denominator` over the whole step, all micro-batches and processes together.
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


def reinforce_loss(logprobs: Tensor, advantages: Tensor, weights: Tensor) -> Tensor:
    """`-sum w A logprobs` (Williams 1992): no ratio, no clipping; right only for captions of today's policy."""
    return -(weights * advantages.to(logprobs).unsqueeze(-1) * logprobs).sum()


def kl(logprobs: Tensor, reference: Tensor, estimator: str = "k3") -> Tensor:
    """Estimate of KL(policy || reference) per token from one sample, with `d = reference - logprobs`.

    k1 is `-d`: unbiased, but as a term of the loss its gradient is 0 on average; use it in the reward. k2 is `d^2 / 2`:
    biased, and its gradient is that of the KL (arXiv 2506.09477). k3 is `exp(d) - d - 1`: unbiased, never below 0, what
    GRPO puts into its loss (arXiv 2402.03300), with a biased gradient. Names: Schulman, "Approximating KL divergence".

    Args:
        logprobs, reference: `[P, G, T]` natural-log probabilities of the same tokens.
    """
    gap = reference - logprobs
    if estimator == "k1":
        return -gap
    if estimator == "k2":
        return gap.square() / 2
    if estimator == "k3":
        return gap.exp() - gap - 1.0
    raise ValueError(f"KL estimator {estimator!r}: use k1, k2 or k3")


def imitation_loss(logprobs: Tensor, weights: Tensor, phi: bool = False) -> Tensor:
    """Weighted negative log-likelihood of given captions `[P, G, T]`.

    Args:
        phi: weigh each token by `p (1 - p)` as well, at most 1/4: tokens that are already sure, or still out of reach,
            count less (CHORD, arXiv 2508.11408).
    """
    if phi:
        p = logprobs.detach().exp()
        weights = weights * p * (1.0 - p)
    return -(weights * logprobs).sum()
