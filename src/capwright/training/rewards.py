"""Scorers as rewards: `[P, G, K]` numbers for G captions of P images, NaN where unknown."""

from __future__ import annotations

import math
import queue
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from capwright.recipes.rewards import QUANTITIES, OnlyIf, Overlong
from capwright.recipes.schema import Recipe
from capwright.recipes.stages import RlStage
from capwright.types import Caption, CapwrightError, OutageError, RecipeError, Sample, Vocabulary

#: What a reward view is: (samples, captions) -> something with `values` float [P, G], NaN where unknown.
View = Callable[[Sequence[Sample], list[list[Caption]]], Any]


@dataclass(frozen=True)
class MeasuredRewards:
    """What captions are worth.

    Attributes:
        values: float64 `[P, G, K]`, NaN where unknown.
        failures: captions without a reward because its view raised or took too long, by reward.
        why: the last such error, by reward.
    """

    values: Tensor
    failures: Counter[str]
    why: dict[str, str]


@dataclass(frozen=True)
class Rewards:
    """The rewards of a recipe, in order.

    Attributes:
        views, weights, gates, floors: K long.
        margins: by name, for floors that follow the reward of the image's own references.
        conditions: by name, where a reward counts.
        timeouts: by name, seconds a call may take.
    """

    views: Mapping[str, View]
    weights: tuple[float, ...]
    gates: tuple[bool, ...]
    floors: tuple[float, ...]
    margins: Mapping[str, float] = field(default_factory=dict)
    conditions: Mapping[str, OnlyIf] = field(default_factory=dict)
    timeouts: Mapping[str, float] = field(default_factory=dict)
    vocabulary: Vocabulary = field(default_factory=lambda: Vocabulary({}))
    _known_floors: dict[str, list[float]] = field(default_factory=dict, repr=False, compare=False)

    def __call__(self, samples: Sequence[Sample], captions: list[list[Caption]]) -> MeasuredRewards:
        """Rewards of as many captions for each sample. Errors of a view make its captions unknown, nothing else."""
        failed = MeasuredRewards(
            torch.empty(len(samples), len(captions[0]) if captions else 0, 0, dtype=torch.float64), Counter(), {}
        )
        found = {name: self._ask(name, samples, captions, failed) for name in self.views}
        counted = []
        for name, values in found.items():
            if rule := self.conditions.get(name):
                given = found[rule.of] if rule.of in found else measure(rule.of, samples, captions)
                values = only_if(values, given, rule)
            counted.append(values)
        return replace(failed, values=torch.stack(counted, -1)) if counted else failed

    @property
    def locates(self) -> bool:
        """Whether some reward knows where in a caption the names are."""
        return any(getattr(view, "locates", False) for view in self.views.values())

    def spans(self, text: str, sample: Sample) -> list[Any]:
        """The names in a text, with `start`, `end`, `term` and `status` ("right", "wrong", "generic", "vague"), as the
        first reward that knows finds them."""
        view: Any = next(view for view in self.views.values() if getattr(view, "locates", False))
        return view.spans(text, sample)

    def floors_of(self, samples: Sequence[Sample]) -> Tensor:
        """What gate rewards have to exceed, `[P, K]`: for a reward with a margin, what the best reference of the image
        gets, minus the margin, where that is known."""
        return torch.tensor([self._floor(sample) for sample in samples], dtype=torch.float64).view(-1, len(self.views))

    def _floor(self, sample: Sample) -> list[float]:
        if not self.margins or not sample.references:
            return list(self.floors)
        if sample.id not in self._known_floors:
            texts = sample.references
            own = self([without(sample, i) for i in range(len(texts))], [[Caption(text)] for text in texts])
            best = own.values[:, 0].nan_to_num(-math.inf).amax(0).tolist()
            floors = [
                value - self.margins[name] if name in self.margins and value > -math.inf else floor
                for name, value, floor in zip(self.views, best, self.floors)
            ]
            if own.failures:  # asked again the next time
                return floors
            self._known_floors[sample.id] = floors
        return self._known_floors[sample.id]

    def _ask(
        self, name: str, samples: Sequence[Sample], captions: list[list[Caption]], failed: MeasuredRewards
    ) -> Tensor:
        """One reward `[P, G]`. When a batch raises, each image is asked for alone, so that only the culprit is lost; it
        is counted in `failed`."""
        view = self.views[name]
        try:
            values = within(self.timeouts.get(name), lambda: view(samples, captions).values)
            found, wanted = torch.as_tensor(values, dtype=torch.float64), [len(samples), len(captions[0])]
            if list(found.shape) != wanted:
                raise ValueError(f"got {list(found.shape)} rewards for {wanted} captions")
            return found.masked_fill(~found.isfinite(), torch.nan)
        except OutageError:
            raise
        except Exception as error:
            if len(samples) > 1 and not isinstance(error, TimeoutError):
                return torch.cat([self._ask(name, [s], [c], failed) for s, c in zip(samples, captions)])
            failed.failures[name] += sum(len(group) for group in captions)
            failed.why[name] = f"{type(error).__name__}: {error}"
            return torch.full((len(samples), len(captions[0])), torch.nan, dtype=torch.float64)


def without(sample: Sample, number: int) -> Sample:
    """The sample without one of its references and its copies, so that a reward made of references does not hold that
    one against itself; the sample as it is where none would be left."""
    others = tuple(text for text in sample.references if text != sample.references[number])
    return replace(sample, references=others) if others else sample


def make_rewards(recipe: Recipe, samples: Sequence[Sample], vocabulary: Any) -> Rewards:
    """Prepare the scorers of a recipe on the samples it learns from. Raises RecipeError naming the reward."""
    from capwright.scorers import Corpus, RewardView, get_scorer

    views: dict[str, View] = {}
    for name, reward in recipe.rewards.items():
        if reward.overlong is not None:
            views[name] = LengthReward(reward.overlong)
            continue
        try:
            scorer = get_scorer(reward.scorer or name, **reward.options)
            context = scorer.prepare(Corpus(samples, vocabulary))
            views[name] = RewardView(scorer, context, reward.output, scale=reward.range, truncated=reward.truncated)
        except (CapwrightError, TypeError) as error:
            raise RecipeError(f"rewards.{name}: {error}") from error
    given = recipe.rewards
    made = Rewards(
        views,
        weights=tuple(r.weight for r in given.values()),
        gates=tuple(r.gate for r in given.values()),
        floors=tuple(r.floor for r in given.values()),
        margins={name: r.margin for name, r in given.items() if r.margin is not None},
        conditions={name: r.only_if for name, r in given.items() if r.only_if},
        timeouts={name: r.timeout for name, r in given.items() if r.timeout},
        vocabulary=vocabulary,
    )
    for stage in recipe.stages:
        if isinstance(stage, RlStage) and (key := stage.needs_names) and not made.locates:
            raise RecipeError(f"stages.{stage.name}.{key}: no reward knows where in a caption the names are; tts does")
        if isinstance(stage, RlStage) and stage.demonstrations and (key := _in_tokens(recipe)):
            raise RecipeError(
                f"stages.{stage.name}.demonstrations: {key} counts tokens, which captions have only where they were "
                "sampled, so no demonstration would have a reward; let it count words"
            )
    return made


def _in_tokens(recipe: Recipe) -> str | None:
    """The first reward that is measured in tokens of the captioner."""
    for name, reward in recipe.rewards.items():
        if "tokens" in (reward.overlong and reward.overlong.of, reward.only_if and reward.only_if.of):
            return f"rewards.{name}"
    return None


@dataclass(frozen=True)
class LengthReward:
    """A view of length: 1 up to `soft`, falling to 0 at `hard`; see `Overlong`."""

    rule: Overlong

    def __call__(self, samples: Sequence[Sample], captions: list[list[Caption]]) -> Values:
        """The reward [P, G]; unknown where the length is."""
        length = measure(self.rule.of, samples, captions)
        return Values(((self.rule.hard - length) / (self.rule.hard - self.rule.soft)).clamp(0.0, 1.0))


@dataclass(frozen=True)
class Values:
    """What views return, when they have nothing but values."""

    values: Tensor


def measure(quantity: str, samples: Sequence[Sample], captions: list[list[Caption]]) -> Tensor:
    """One of `QUANTITIES` for every caption, float64 `[P, G]`.

    "words" of the text, "tokens" of the captioner (unknown for captions that did not come from one), "length_ratio":
    words over the mean words of the sample's references (unknown without any).
    """
    from capwright.scorers.fluency.length import count_words

    def one(sample: Sample, caption: Caption) -> float:
        if quantity == "tokens":
            return float(len(caption.tokens)) if caption.tokens else math.nan
        words = float(count_words(caption.text))
        if quantity == "words":
            return words
        lengths = [count_words(text) for text in sample.references]
        return words * len(lengths) / sum(lengths) if sum(lengths) else math.nan

    if quantity not in QUANTITIES:
        raise ValueError(f"quantity {quantity!r}: use one of {', '.join(QUANTITIES)}")
    rows = [[one(sample, caption) for caption in group] for sample, group in zip(samples, captions)]
    return torch.tensor(rows, dtype=torch.float64)


def only_if(values: Tensor, given: Tensor, rule: OnlyIf) -> Tensor:
    """`values` where `given` is within the bounds of the rule, 0 elsewhere, unknown where `given` is. Any shape."""
    low = -math.inf if rule.at_least is None else rule.at_least
    high = math.inf if rule.at_most is None else rule.at_most
    kept = torch.where((given >= low) & (given <= high), values, torch.zeros_like(values))
    return kept.masked_fill(given.isnan(), torch.nan)


def within(seconds: float | None, call: Callable[[], Any]) -> Any:
    """What `call` returns. Raises TimeoutError when it takes longer; it is then left to itself in its thread."""
    if seconds is None:
        return call()
    answer: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue()

    def work() -> None:
        try:
            answer.put((call(), None))
        except BaseException as error:
            answer.put((None, error))

    threading.Thread(target=work, daemon=True).start()
    try:
        value, error = answer.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    if error is not None:
        raise error
    return value


def summarize(names: Sequence[str], values: Tensor) -> dict[str, dict[str, float | None]]:
    """For the journal: mean of each reward and its spread (mean standard deviation within a group); None if unknown."""
    means: dict[str, float | None] = {}
    spreads: dict[str, float | None] = {}
    for k, name in enumerate(names):
        known = values[..., k][~values[..., k].isnan().any(1)]
        means[name] = round(float(known.mean()), 6) if known.numel() else None
        spreads[name] = round(float(known.std(1).mean()), 6) if known.numel() and known.shape[1] > 1 else None
    return {"reward": means, "spread": spreads}
