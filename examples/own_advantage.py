"""An advantage of your own: the rank of a caption within its group, from -1 (worst) to 1 (best).

capwright train grpo-scenes stages.grpo.advantage=ranks --plugin examples/own_advantage.py
"""

import torch

from capwright.plugins import register


@register("advantage", "ranks")
def ranks(rewards, weights):
    """Rewards [P, G, K] and weights [K] to advantages [P, G]; NaN is an unknown reward, and stays unknown."""
    total = (rewards * weights).sum(-1)
    better = (total.unsqueeze(2) > total.unsqueeze(1)).sum(2)
    worse = (total.unsqueeze(2) < total.unsqueeze(1)).sum(2)
    return ((better - worse) / (total.shape[1] - 1)).masked_fill(total.isnan(), torch.nan)
