"""A scorer seen as a reward: bounded, independent of the batch, and honest about what it does not know."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capwright.scorers.base import Context, Item, Scorer, write_signature
from capwright.types import Caption, OutageError, Sample, ScorerError, Status

Grid = NDArray[np.float64]


@dataclass(frozen=True)
class Reward:
    """Rewards of P groups of G captions.

    Attributes:
        values: float64 [P, G] in [0, 1]; NaN where unknown.
        known: bool [P, G]. An unknown reward is not a bad reward: groups with unknowns must not count as failed.
        parts: every output of the scorer [P, G], scaled like `values` where it has a finite range; NaN where unknown.
    """

    values: Grid
    known: NDArray[np.bool_]
    parts: dict[str, Grid]


class RewardView:
    """Calls a scorer with groups of captions and gives back numbers to train on.

    Args:
        scorer: what measures.
        context: made by `scorer.prepare` before training and frozen, so that a caption has the same reward in every
            batch.
        output: which value is the reward: one of `spec.rewards` or of `context.outputs`. None takes the first of
            `spec.rewards`, or else the headline.
        truncated: what becomes of captions that were cut off (`finish == "length"`): "score" measures them like any
            other, "unknown" masks them.
        scale: (low, high) mapped to 0 and 1, for outputs without a finite range; values outside are clipped.

    A scorer for which lower is better is turned around (1 - scaled). Errors inside the scorer are raised as
    ScorerError, never swallowed: whether to go on is the trainer's decision.

    Raises:
        ScorerError: no context, a context of another scorer, a scorer that only measures sets or the captions of an
            image together, an unknown output, or an output without a range and no `scale`.
    """

    def __init__(
        self,
        scorer: Scorer,
        context: Context | None,
        output: str | None = None,
        *,
        truncated: str = "score",
        scale: tuple[float, float] | None = None,
    ) -> None:
        spec = scorer.spec
        if spec.unit == "set":
            raise ScorerError(
                f"{spec.name}: cannot be a reward, because it measures a set of captions and no single caption has "
                "a value of its own; use it for evaluation"
            )
        if "several captions" in spec.needs:
            raise ScorerError(
                f"{spec.name}: cannot be a reward, because it measures the captions of an image together and no "
                "single caption has a value of its own; use it for evaluation"
            )
        if not isinstance(context, Context):
            raise ScorerError(
                f"{spec.name}: a reward needs a frozen context, so that it does not change from batch to batch; "
                f"pass the result of {spec.name}.prepare(corpus)"
            )
        if context.scorer != spec.name:
            raise ScorerError(f"{spec.name}: the context is of {context.scorer!r}; prepare one with this scorer")
        if truncated not in ("score", "unknown"):
            raise ScorerError(f'{spec.name}: truncated must be "score" or "unknown", not {truncated!r}')
        self.scorer = scorer
        self.context = context
        self.output = output if output is not None else (*spec.rewards, spec.headline)[0]
        choices = (*spec.rewards, *context.outputs)
        if self.output not in choices:
            raise ScorerError(f"{spec.name}: has no output {self.output!r}; it has {', '.join(choices)}")
        self._truncated = truncated
        self._ranges = {name: spec.range_of(name) for name in choices}
        if scale is not None:
            if not (math.isfinite(scale[0]) and math.isfinite(scale[1]) and scale[0] < scale[1]):
                raise ScorerError(f"{spec.name}: scale must be (low, high) with low < high, not {scale!r}")
            self._ranges[self.output] = (float(scale[0]), float(scale[1]))
        elif not _bounded(self._ranges[self.output]):
            raise ScorerError(
                f"{spec.name}: {self.output!r} has no finite range; say what means 0 and 1 with scale=(low, high)"
            )
        self._clip = scale is not None

    @property
    def signature(self) -> str:
        """Signature of the scorer and of how its number becomes a reward.

        A scorer whose `shape` depends on options that change no score names them in its property `shaping`, {name:
        value}; they stand here when such a reward is taken.
        """
        low, high = self._ranges[self.output]
        scale = f"|scale:{low:g}..{high:g}" if self._clip else ""
        shaping = getattr(self.scorer, "shaping", {}) if self.output in self.scorer.spec.rewards else {}
        reward = write_signature(f"reward:{self.output}", **shaping)
        return f"{self.scorer.signature(self.context)}|{reward}|truncated:{self._truncated}{scale}"

    def __call__(self, samples: Sequence[Sample], captions: Sequence[Sequence[Caption]]) -> Reward:
        """Rewards of G captions for each of P samples.

        Raises ScorerError when the shapes do not fit, when the scorer fails, or when it leaves its declared range.
        """
        spec = self.scorer.spec
        groups = _group_size(spec.name, samples, captions)
        items = [
            Item(sample, caption.text, self._status(caption), caption.finish)
            for sample, group in zip(samples, captions)
            for caption in group
        ]
        try:
            stats = self.scorer.stats(items, self.context)
            rows, known = stats.by_item(len(items))
            table = dict(zip(self.context.outputs, self.scorer.finalize(rows).T))
            if spec.rewards:
                shaped = self.scorer.shape(rows)  # type: ignore[attr-defined]
                table |= dict(zip(spec.rewards, shaped.T))
        except (OutageError, ScorerError):
            raise
        except Exception as error:
            raise ScorerError(f"{spec.name}: failed on {len(items)} captions: {error}") from error
        parts = {name: self._scaled(name, values, known).reshape(groups) for name, values in table.items()}
        values = parts[self.output]
        return Reward(values, np.isfinite(values), parts)

    @property
    def locates(self) -> bool:
        """Whether the scorer knows where in a caption its evidence stands: `spans(text, sample, context)`."""
        return hasattr(self.scorer, "spans")

    def spans(self, text: str, sample: Sample) -> list[Any]:
        """What the scorer finds in a text, with `start`, `end` (characters), `term` and `status`; see `locates`."""
        return self.scorer.spans(text, sample, self.context)  # type: ignore[attr-defined]

    def _status(self, caption: Caption) -> str:
        return Status.TRUNCATED if caption.finish == "length" and self._truncated == "unknown" else Status.OK

    def _scaled(self, name: str, values: Grid, known: NDArray[np.bool_]) -> Grid:
        values = np.where(known & np.isfinite(values), values, np.nan)
        low, high = self._ranges[name]
        if not _bounded((low, high)):
            return values
        scaled = (values - low) / (high - low)
        if name != self.output or not self._clip:
            outside = (scaled < -1e-9) | (scaled > 1 + 1e-9)
            if outside.any():
                raise ScorerError(
                    f"{self.scorer.spec.name}: {name} gave {values[outside][0]:g}, not in its range {low:g}..{high:g}"
                )
        scaled = np.clip(scaled, 0.0, 1.0)
        lower_is_better = self.scorer.spec.higher_is_better is False and name not in self.scorer.spec.rewards
        return 1.0 - scaled if lower_is_better else scaled


def _bounded(limits: tuple[float, float]) -> bool:
    return math.isfinite(limits[0]) and math.isfinite(limits[1])


def _group_size(name: str, samples: Sequence[Sample], captions: Sequence[Sequence[Caption]]) -> tuple[int, int]:
    sizes = {len(group) for group in captions}
    if len(samples) != len(captions) or len(sizes) > 1:
        raise ScorerError(
            f"{name}: needs as many captions for every sample; got {len(samples)} samples, {len(captions)} groups of "
            f"{', '.join(map(str, sorted(sizes))) or 'no'} captions"
        )
    return len(samples), sizes.pop() if sizes else 0
