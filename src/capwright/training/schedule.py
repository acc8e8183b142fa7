"""Which images at which step, and how fast to learn: all that a stage knows before it begins."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

from torch.utils.data import Subset

from capwright.recipes.schema import Recipe
from capwright.recipes.stages import SftStage, StageBase
from capwright.training.demonstrations import targets
from capwright.types import RecipeError, Sample


def images_for(stage: StageBase, data: Any) -> Any:
    """The samples that a stage looks at: all of them, or for imitation those with a caption to imitate, if there are
    any. Samples are read when they are asked for."""
    if not isinstance(stage, SftStage):
        return data
    wanted = [i for i in range(len(data)) if targets(data[i], stage.target)]
    return Subset(data, wanted) if 0 < len(wanted) < len(data) else data


class Order:
    """Which images a step looks at: a fresh seeded permutation each pass, a pure function of (n, size, seed, step).

    A batch never crosses from one pass into the next, so no image is in it twice; the few images left over at the end
    of a pass are others each time. A split with fewer than `size` images gives smaller batches.

    Args:
        lead: the order of the first pass, in place of a permutation; `always`: of every pass, so that the images left
            over at its end are never looked at.
    """

    def __init__(self, n: int, size: int, seed: int, lead: Sequence[int] | None = None, always: bool = False) -> None:
        self.n, self.size, self.seed = n, min(size, n), seed
        self.lead, self.always = lead, always
        self.steps_per_pass = max(1, n // self.size) if n else 0
        self._pass: tuple[int, list[int]] = (-1, [])

    def __getitem__(self, step: int) -> list[int]:
        """The indices of step 0, 1, 2, ..."""
        number, place = divmod(step, self.steps_per_pass)
        if self._pass[0] != number:
            indices = list(range(self.n))
            random.Random(f"{self.seed}/{number}").shuffle(indices)
            if self.lead is not None and (number == 0 or self.always):
                indices = list(self.lead)
            self._pass = (number, indices)
        return self._pass[1][place * self.size : (place + 1) * self.size]


def make_order(data: Sequence[Sample], stage: StageBase, seed: int) -> Order:
    """What `order` in a recipe says: shuffled, as given, or a curriculum by a number that samples carry.

    Raises:
        RecipeError: a sample has no such number.
    """
    n = len(data)
    if stage.order == "shuffled":
        return Order(n, stage.images_per_step, seed)
    if stage.order == "given":
        return Order(n, stage.images_per_step, seed, range(n), always=True)
    key = stage.order.removeprefix("meta.")
    values = []
    for sample in data:
        value = sample.meta.get(key)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise RecipeError(f"stages.{stage.name}.order: sample '{sample.id}' has no number meta.{key}")
        values.append(value)
    return Order(n, stage.images_per_step, seed, sorted(range(n), key=lambda i: values[i]))


def stage_steps(stage: StageBase, n: int) -> int:
    """Steps of a stage that looks at n images."""
    if stage.steps is not None:
        return stage.steps
    per_pass = max(1, n // min(stage.images_per_step, max(n, 1)))
    return max(1, round((stage.epochs or 1.0) * per_pass))


def stage_seed(recipe: Recipe, index: int) -> int:
    """The seed of stage `index`."""
    own = recipe.stages[index].seed
    return own if own is not None else recipe.seed * 1000 + index


def learning_rate(stage: StageBase, step: int, steps: int) -> float:
    """The learning rate of step 1, 2, ..., `steps`: linear warm-up, then the schedule (cosine, linear: towards 0)."""
    if stage.warmup_steps and step <= stage.warmup_steps:
        return stage.learning_rate * step / stage.warmup_steps
    done = (step - 1 - stage.warmup_steps) / max(1, steps - stage.warmup_steps)
    if stage.schedule == "cosine":
        return stage.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))
    if stage.schedule == "linear":
        return stage.learning_rate * (1.0 - done)
    return stage.learning_rate
