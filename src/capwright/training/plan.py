"""What a run is going to do: which images at which step, and the numbers a person wants to see before starting."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from capwright.recipes.schema import Recipe, SftStage, StageBase


class Order:
    """Which images a step looks at: a fresh seeded permutation each pass, a pure function of (n, size, seed, step).

    A batch never crosses from one pass into the next, so no image is in it twice; the few images left over at the end
    of a pass are others each time. A split with fewer than `size` images gives smaller batches.
    """

    def __init__(self, n: int, size: int, seed: int) -> None:
        self.n, self.size, self.seed = n, min(size, n), seed
        self.steps_per_pass = max(1, n // self.size) if n else 0
        self._pass: tuple[int, list[int]] = (-1, [])

    def __getitem__(self, step: int) -> list[int]:
        """The indices of step 0, 1, 2, ..."""
        number, place = divmod(step, self.steps_per_pass)
        if self._pass[0] != number:
            indices = list(range(self.n))
            random.Random(f"{self.seed}/{number}").shuffle(indices)
            self._pass = (number, indices)
        return self._pass[1][place * self.size : (place + 1) * self.size]


def stage_steps(stage: StageBase, n: int) -> int:
    """Steps of a stage on n images."""
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


@dataclass(frozen=True)
class StagePlan:
    """The numbers of one stage. Token counts are the most there can be; None where only the data can say."""

    name: str
    kind: str
    steps: int | None
    updates: int | None
    images_per_step: int
    captions_per_image: int
    tokens_per_step: int | None
    images: int | None
    passes: float | None

    def line(self) -> str:
        """One line for people."""
        verb = "given" if self.kind == "sft" else "sampled"
        steps = "?" if self.steps is None else f"{self.steps:,}"
        parts = [
            f"{self.name}: {steps} steps",
            f"{self.images_per_step} images a step",
            f"{self.captions_per_image} {verb} captions an image",
        ]
        if self.tokens_per_step is not None:
            parts.append(f"up to {self.tokens_per_step:,} caption tokens a step")
        if self.updates is not None:
            parts.append(f"{self.updates:,} optimizer steps at most")
        if self.images is not None:
            share = "" if self.passes is None else f" ({self.passes:.2g} passes)"
            parts.append(f"{self.images:,} images in all{share}")
        return ", ".join(parts)


def make_plan(recipe: Recipe, n: int | None) -> list[StagePlan]:
    """The plan of every stage for a train split of n images; n None when the data is not at hand."""
    plans = []
    for stage in recipe.stages:
        images = stage.images_per_step if n is None else min(stage.images_per_step, n)
        steps = stage_steps(stage, n) if n is not None else stage.steps
        inner = 1 if isinstance(stage, SftStage) else stage.inner_epochs
        tokens = None if isinstance(stage, SftStage) else images * stage.captions_per_image * stage.sampling.max_tokens
        total = None if steps is None else steps * images
        plans.append(
            StagePlan(
                name=stage.name,
                kind=stage.kind,
                steps=steps,
                updates=None if steps is None else steps * inner,
                images_per_step=images,
                captions_per_image=stage.captions_per_image,
                tokens_per_step=tokens,
                images=total,
                passes=None if total is None or not n else total / n,
            )
        )
    return plans
