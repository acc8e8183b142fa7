"""What a run is going to do: the numbers a person wants to see before starting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from capwright.recipes import Recipe, RlStage
from capwright.training.schedule import images_for, stage_steps
from capwright.types import Sample


@dataclass(frozen=True)
class StagePlan:
    """The numbers of one stage. Token counts are the most there can be; None where only the data can say.

    Attributes:
        batches: so many batches of images a step looks at, at most (`on_failed: resample`); `images` counts one a step.
    """

    name: str
    kind: str
    steps: int | None
    updates: int | None
    images_per_step: int
    captions_per_image: int
    tokens_per_step: int | None
    images: int | None
    start: str | None
    passes: float | None
    batches: int = 1

    def line(self) -> str:
        """One line for people."""
        verb = "given" if self.kind == "sft" else "sampled"
        steps = "?" if self.steps is None else f"{self.steps:,}"
        start = "" if self.start is None else f" from {self.start}"
        parts = [
            f"{self.name}{start}: {steps} steps",
            f"{self.images_per_step} images a step",
            f"{self.captions_per_image} {verb} captions an image",
        ]
        if self.tokens_per_step is not None:
            parts.append(f"up to {self.tokens_per_step:,} sampled tokens a step")
        if self.updates is not None:
            parts.append(f"{self.updates:,} optimizer steps at most")
        if self.images is not None:
            share = "" if self.passes is None else f" ({_times(self.passes)} passes)"
            least = "at least " if self.batches > 1 else ""
            parts.append(f"{least}{self.images:,} images in all{share}")
        return ", ".join(parts)


def make_plan(recipe: Recipe, data: Sequence[Sample] | int | None) -> list[StagePlan]:
    """The plan of every stage for a train split, or for one of so many images; None when the data is not at hand."""
    plans = []
    for stage in recipe.stages:
        n = data if data is None or isinstance(data, int) else len(images_for(stage, data))
        images = stage.images_per_step if n is None else min(stage.images_per_step, n)
        steps = stage_steps(stage, n) if n is not None else stage.steps
        rl = stage if isinstance(stage, RlStage) else None
        batches = rl.resample_rounds + 1 if rl and rl.on_failed == "resample" else 1
        total = None if steps is None else steps * images
        plans.append(
            StagePlan(
                name=stage.name,
                kind=stage.kind,
                steps=steps,
                updates=None if steps is None else steps * (rl.inner_epochs if rl else 1),
                images_per_step=images,
                captions_per_image=stage.captions_per_image,
                tokens_per_step=batches * images * rl.captions_per_image * rl.sampling.max_tokens if rl else None,
                images=total,
                start=stage.start_from,
                passes=None if total is None or not n else total / n,
                batches=batches,
            )
        )
    return plans


def _times(passes: float) -> str:
    """ "0.031", "1.6", "960"."""
    return f"{passes:.2g}" if passes < 10 else f"{passes:,.0f}"
