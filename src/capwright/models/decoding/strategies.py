"""Which prompts a policy reads while it writes a caption, and how their logits become those that tokens are drawn from.

The prompts of an image (image and instruction; the instruction alone) are followed by the same caption. Each gives its
own logits at every step: a stream. A strategy says which prompts there are and combines their streams; temperature,
top-k and top-p come afterwards and are the same for all strategies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from capwright import plugins
from capwright.models.batch import EncodedPrompts
from capwright.types import RunError, SamplingParams


class DecodingStrategy(Protocol):
    """Combines the streams of one policy."""

    @property
    def policy_logprobs(self) -> bool:
        """Whether tokens are drawn from the policy itself, so that their log-probabilities are the policy's.

        Reinforcement takes no other captions: its update would be that of a distribution they were not drawn from.
        """
        ...

    def prompts(self, prefixes: EncodedPrompts, encode: Callable[..., EncodedPrompts]) -> Sequence[EncodedPrompts]:
        """The prompts [P] of each stream.

        Args:
            prefixes: images and instructions as they were asked for.
            encode: the policy's `encode`, for prompts that differ from them.
        """
        ...

    def combine(self, logits: Sequence[Tensor], step: int) -> Tensor:
        """The logits [M, V] to draw from, given those of each stream; may reuse their memory.

        Args:
            logits: float32 [M, V] of each stream, before temperature; minus infinity, in all of them, for tokens that
                are never said.
            step: how many tokens these M captions have.
        """
        ...


class PlainSampling:
    """One stream, as it is."""

    policy_logprobs = True

    def prompts(self, prefixes: EncodedPrompts, encode: Callable[..., EncodedPrompts]) -> Sequence[EncodedPrompts]:
        return [prefixes]

    def combine(self, logits: Sequence[Tensor], step: int) -> Tensor:
        return logits[0]


@dataclass(frozen=True)
class Guidance:
    """Classifier-free guidance (arXiv 2306.17806 for language models, 2307.16686 for captions).

    The image's influence times `scale`: blind + scale * (seen - blind), where `seen` are the logits given the image and
    `blind` those given the instruction alone. 1 is plain sampling, 0 a captioner that sees nothing; above 1 words that
    the image makes likelier gain. docs/methods/guidance.md has what the papers say and what is ours.
    """

    scale: float

    @property
    def policy_logprobs(self) -> bool:
        return self.scale == 1.0

    def prompts(self, prefixes: EncodedPrompts, encode: Callable[..., EncodedPrompts]) -> Sequence[EncodedPrompts]:
        return [prefixes, encode(prefixes.requests, blind=True)]

    def combine(self, logits: Sequence[Tensor], step: int) -> Tensor:
        seen, blind = logits
        gap = (seen - blind).masked_fill_(seen.isneginf(), 0.0)  # of tokens that are never said it is not a number
        return seen + (self.scale - 1.0) * gap  # the formula above, written so that scale 1 changes no bit


def strategy_of(sampling: SamplingParams) -> DecodingStrategy:
    """The strategy that `sampling` asks for: made anew of the plugin that its `strategy` names, if it names one.

    Raises:
        RunError: its `guidance` is negative or not finite, or goes with a `strategy`; or there is no such strategy, or
            it cannot be made.
    """
    if not 0.0 <= sampling.guidance < math.inf:
        raise RunError(f"guidance {sampling.guidance}: must be 0 or more; 1 is none")
    if not sampling.strategy:
        return PlainSampling() if sampling.guidance == 1.0 else Guidance(sampling.guidance)
    name = sampling.strategy
    if sampling.guidance != 1.0:
        raise RunError(f"guidance {sampling.guidance:g}: does not go with the strategy {name!r}; leave it at 1")
    make = plugins.resolve("decoding", name, error=RunError)
    try:
        made = make()
    except Exception as error:
        raise RunError(f"strategy {name}: cannot be made: {plugins.describe(error)}") from error
    if missing := [what for what in ("policy_logprobs", "prompts", "combine") if not hasattr(made, what)]:
        raise RunError(f"strategy {name}: has no {missing[0]}; docs/guides/plugins.md says what a strategy is")
    return made


def combined(strategy: DecodingStrategy, logits: list[Tensor], step: int) -> Tensor:
    """What the strategy makes of the logits. Raises RunError when it has another shape, or is no number."""
    made = strategy.combine(logits, step)
    if getattr(made, "shape", None) != logits[0].shape:
        gave = list(made.shape) if isinstance(made, Tensor) else type(made).__name__
        raise RunError(f"strategy {type(strategy).__name__}: combine must give {list(logits[0].shape)}, not {gave}")
    if not isinstance(strategy, PlainSampling | Guidance) and made.isnan().any():  # it would become an empty caption
        raise RunError(f"strategy {type(strategy).__name__}: combine gave NaN at step {step}")
    return made
