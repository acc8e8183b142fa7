"""Scorers as rewards: `[P, G, K]` numbers for G captions of P images, NaN where nobody knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from capwright.recipes.schema import Recipe
from capwright.types import Caption, CapwrightError, RecipeError, RunError, Sample

#: What a reward view is: (samples, captions) -> something with `values` float [P, G], NaN where unknown.
View = Callable[[Sequence[Sample], list[list[Caption]]], Any]


@dataclass(frozen=True)
class Rewards:
    """The rewards of a recipe, in order. `views`, `weights`, `gates` and `floors` are K long."""

    views: Mapping[str, View]
    weights: tuple[float, ...]
    gates: tuple[bool, ...]
    floors: tuple[float, ...]

    def __call__(self, samples: Sequence[Sample], captions: list[list[Caption]]) -> Tensor:
        """Rewards float64 `[P, G, K]`."""
        parts = []
        for name, view in self.views.items():
            try:
                parts.append(torch.as_tensor(view(samples, captions).values, dtype=torch.float64))
            except Exception as error:
                raise RunError(f"reward '{name}' could not be measured: {type(error).__name__}: {error}") from error
        return torch.stack(parts, dim=-1)


def make_rewards(recipe: Recipe, samples: Sequence[Sample], vocabulary: Any) -> Rewards:
    """Prepare the scorers of a recipe on the samples it learns from. Raises RecipeError naming the reward."""
    from capwright.scorers import Corpus, RewardView, get_scorer

    views: dict[str, View] = {}
    for name, reward in recipe.rewards.items():
        try:
            scorer = get_scorer(reward.scorer or name, **reward.options)
            context = scorer.prepare(Corpus(samples, vocabulary))
            views[name] = RewardView(scorer, context, reward.output, scale=reward.range)
        except (CapwrightError, TypeError) as error:
            raise RecipeError(f"rewards.{name}: {error}") from error
    rewards = recipe.rewards.values()
    return Rewards(
        views, tuple(r.weight for r in rewards), tuple(r.gate for r in rewards), tuple(r.floor for r in rewards)
    )


def summarize(names: Sequence[str], values: Tensor) -> dict[str, dict[str, float | None]]:
    """For the journal: mean of each reward and its spread (mean standard deviation within a group); None if unknown."""
    means: dict[str, float | None] = {}
    spreads: dict[str, float | None] = {}
    for k, name in enumerate(names):
        known = values[..., k][~values[..., k].isnan().any(1)]
        means[name] = round(float(known.mean()), 6) if known.numel() else None
        spreads[name] = round(float(known.std(1).mean()), 6) if known.numel() else None
    return {"reward": means, "spread": spreads}
