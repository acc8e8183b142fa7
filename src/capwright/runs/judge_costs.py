"""What a step of training will ask the judges of its rewards, counted before one is asked."""

from __future__ import annotations

from typing import Any

from capwright.judges.client.cost_estimate import ENTRIES, CostEstimate, counted_options
from capwright.judges.client.usage import Cost
from capwright.recipes.schema import Recipe
from capwright.recipes.stages import RlStage
from capwright.training.rewards import make_rewards
from capwright.types import Caption

#: Images whose captions are counted; a step of more images asks in proportion.
_COUNTED = 8
#: Characters of a token of a caption, about.
_CHARACTERS = 4


def asked_by(recipe: Recipe, stage: RlStage, data: Any, steps: int) -> list[str]:
    """A line for each server or model that rewards ask: calls, tokens and cost of a step and of all steps, at most.

    Captions are taken to be as long as they may be, and all different. Empty when no reward asks a judge.
    """
    costs = CostEstimate()
    rewards = {}
    for name, reward in recipe.rewards.items():
        options = counted_options(reward.options, costs)
        if options is not None:
            rewards[name] = reward.model_copy(update={"options": options})
    if not rewards:
        return []
    views = make_rewards(recipe.model_copy(update={"rewards": rewards}), data, data.vocabulary).views
    count = min(_COUNTED, stage.images_per_step, len(data))
    samples = [data[i * len(data) // count] for i in range(count)]
    given = stage.demonstrations.count("reference") + stage.demonstrations.count("corrected")
    members = [stage.group_size - given + given * len(sample.references) for sample in samples]
    captions = [[Caption(_long(f"{i} {g}", stage)) for g in range(n)] for i, n in enumerate(members)]
    for sample, group in zip(samples, captions):  # one by one, as calls are not the same for every image
        for view in views.values():
            view([sample], [group])
    images = stage.images_per_step / count
    lines = [
        f"a step asks {who}: {_amount(found, images)}; all {steps:,} steps: {_amount(found, images * steps)}"
        for who, found in costs.found.items()
    ]
    return [*lines, f"no judge was asked; lists that only answers would tell are taken to have {ENTRIES} entries"]


def _amount(found: Cost, times: float) -> str:
    cost = "" if found.cost is None else f" and {found.cost * times:.4g} by your prices"
    return f"{found.calls * times:,.0f} calls, at most {found.tokens * times:,.0f} tokens{cost}"


def _long(start: str, stage: RlStage) -> str:
    """A caption as long as the stage allows."""
    size = _CHARACTERS * stage.sampling.max_tokens
    return f"{start} {'somebody plays with something ' * size}"[:size]
