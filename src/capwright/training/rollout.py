"""Look at images, say captions of them, have them judged: what a step of reinforcement learning learns from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from capwright.models import CaptionBatch, EncodedPrompts, HFPolicy
from capwright.models.decoding.sampling import uniform_noise
from capwright.models.decoding.strategies import strategy_of
from capwright.recipes import RlStage, SftStage
from capwright.training.demonstrations import Demonstrations, missed_terms
from capwright.training.distributed import ProcessGroup
from capwright.training.rewards import Rewards
from capwright.types import Caption, ImageError, ModelError, RecipeError, Request, Sample, SamplingParams


@dataclass
class TrainingSetup:
    """What a run works with.

    Attributes:
        policy: what learns; see `capwright.models.HFPolicy`.
        data: the split to learn from: a sequence of samples with `by_id`; `fingerprint` tells it from others.
        rewards: those of the recipe; none when all stages imitate.
        open_image: reads an image.
        prefix_trains: whether gradients reach what comes before the captions (projector, vision tower, embeddings).
            Otherwise encoded images are shared by sampling and loss as they are.
        order: (data, stage, seed) -> something that says which indices step 0, 1, 2, ... looks at: a curriculum of
            your own. None does what the recipe says (`capwright.training.schedule.make_order`).
    """

    policy: HFPolicy
    data: Any
    fingerprint: str
    rewards: Rewards
    open_image: Callable[[Path], Image.Image]
    prefix_trains: bool = True
    order: Callable[[Any, SftStage | RlStage, int], Any] | None = None


@dataclass(frozen=True)
class GroupRecord:
    """The captions of one image as all processes know them.

    Attributes:
        values: rewards `[G, K]`; `floors`: what gate rewards have to exceed, `[K]`.
        greedy: rewards `[K]` of the greedy caption; None when it was not asked for.
        shown: rewards `[M, K]` of the demonstrations, NaN where there is none.
        missed: whether some annotated name is in none of the captions; False where it was not looked for.
        tokens, truncated: of all G captions together; `entropy`: their mean, in nats a token.
    """

    sample_id: str
    values: Tensor
    floors: Tensor
    greedy: Tensor | None
    texts: list[str]
    tokens: int
    truncated: int
    entropy: float | None
    shown: Tensor
    missed: bool


@dataclass
class Rollout:
    """The captions of a step.

    Attributes:
        chunks: groups of this process, as they were encoded together.
        places: of each of its groups, the place in `records`.
        records: of all processes, in the order of the images.
        failures, why: see `MeasuredRewards`, of all processes; of sampled captions alone.
        lost: demonstrations without a reward because its view raised, by reward.
    """

    chunks: list[CaptionBatch] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    records: list[GroupRecord] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    why: dict[str, str] = field(default_factory=dict)
    lost: Counter[str] = field(default_factory=Counter)

    def __add__(self, more: Rollout) -> Rollout:
        return Rollout(
            self.chunks + more.chunks,
            self.places + [len(self.records) + place for place in more.places],
            self.records + more.records,
            self.failures + more.failures,
            self.why | more.why,
            self.lost + more.lost,
        )

    def by_chunk(self) -> Iterator[tuple[CaptionBatch, list[int]]]:
        """Each chunk with the places of its groups."""
        start = 0
        for chunk in self.chunks:
            yield chunk, self.places[start : start + len(chunk)]
            start += len(chunk)

    def values(self, k: int) -> Tensor:
        """Rewards [P, G, K] of all images."""
        return self.stacked("values") if self.records else torch.empty(0, 1, k, dtype=torch.float64)

    def describe(self) -> dict[str, Any]:
        """What was said, for the journal."""
        n = max(1, sum(len(one.texts) for one in self.records))
        entropies = [one.entropy for one in self.records if one.entropy is not None]
        return {
            "tokens": sum(one.tokens for one in self.records),
            "caption_words": round(sum(len(text.split()) for one in self.records for text in one.texts) / n, 3),
            "truncated": round(sum(one.truncated for one in self.records) / n, 4),
            "entropy": round(sum(entropies) / len(entropies), 4) if entropies else None,
        }

    def stacked(self, what: str) -> Tensor:
        """`values` [P, G, K], `floors` or `greedy` [P, K] of all images."""
        return torch.stack([getattr(one, what) for one in self.records])


class RolloutWorker:
    """Encodes images, samples captions and asks for their rewards, for one process of a team.

    Attributes:
        keeps_graph: encode with gradients, for a loss that is computed on the same prefixes.
        left_out: why images could not be used, since the last `tell`.
    """

    def __init__(self, materials: TrainingSetup, processes: ProcessGroup, keeps_graph: bool) -> None:
        self.policy, self.rewards, self.open_image = materials.policy, materials.rewards, materials.open_image
        self.processes, self.keeps_graph = processes, keeps_graph
        self.left_out: list[str] = []
        self.demonstrations = Demonstrations(self.rewards)

    def encode(self, samples: Sequence[Sample]) -> EncodedPrompts | None:
        """Every image through the vision tower once; those that cannot be read, or that the model refuses, are named
        and left out. Images are opened only where the policy has not kept what became of them."""
        if not samples:
            return None
        with torch.set_grad_enabled(self.keeps_graph), self.processes.accelerator.autocast():
            try:
                images = [partial(self._images, sample) for sample in samples]
                return self.policy.encode([Request(sample) for sample in samples], images)
            except (ImageError, ModelError) as error:
                if len(samples) == 1:
                    self.left_out.append(str(error))
                    return None
        return self.encode([sample for sample in samples if self.encode([sample]) is not None])

    def _images(self, sample: Sample) -> list[Image.Image]:
        return [self.open_image(path) for path in sample.images]

    def rollout(self, samples: Sequence[Sample], stage: RlStage, key: str) -> Rollout:
        """G captions of each sample of a step and their rewards; each process does its share.

        Args:
            key: with a sample's id, it decides what is drawn, whichever process or batch the image is in.
        """
        self.policy.model.eval()
        mine = Rollout()
        with self.processes.unsharded_weights():
            for batch in slices(self.processes.shard(samples), stage.rollout_batch):
                if (prefixes := self.encode(batch)) is not None:
                    groups = self._generate(prefixes, stage, key)
                    found = self._score(groups, stage, mine)
                    if stage.demonstrations:
                        groups, found = self._show(groups, found, stage, key, mine)
                    mine.chunks.append(groups)
                    mine.records += found
        parts = self.processes.gather([replace(mine, chunks=[])])
        before = sum(len(part.records) for part in parts[: self.processes.rank])
        places = list(range(before, before + len(mine.records)))
        return replace(sum(parts, Rollout()), chunks=mine.chunks, places=places)

    def _generate(self, prefixes: EncodedPrompts, stage: RlStage, key: str) -> CaptionBatch:
        sampling = sampling_of(stage)
        keys = [f"{key}/{request.sample.id}" for request in prefixes.requests]
        numbers = uniform_noise(keys, stage.captions_per_image, sampling.max_tokens)
        with self.processes.accelerator.autocast():
            return self.policy.sample(prefixes, stage.captions_per_image, sampling, numbers)

    def _score(self, groups: CaptionBatch, stage: RlStage, mine: Rollout) -> list[GroupRecord]:
        samples = [request.sample for request in groups.prefixes.requests]
        measured = self.rewards(samples, groups.captions)
        mine.failures.update(measured.failures)
        mine.why |= measured.why
        greedy = None
        if stage.advantage == "scst":
            sampling = SamplingParams(temperature=0.0, max_tokens=stage.sampling.max_tokens)
            with self.processes.accelerator.autocast():
                said = self.policy.sample(groups.prefixes, 1, sampling)
            greedy = self.rewards(samples, said.captions).values[:, 0]
        return [
            GroupRecord(
                sample.id,
                measured.values[i],
                floors,
                None if greedy is None else greedy[i],
                [caption.text for caption in captions],
                int(groups.mask[i].sum()),
                sum(caption.finish == "length" for caption in captions),
                None if groups.entropy is None else float(groups.entropy[i].mean()),
                measured.values.new_empty(0, measured.values.shape[2]),
                stage.imitation.unit == "term" and self._misses(sample, captions),
            )
            for i, (sample, captions, floors) in enumerate(
                zip(samples, groups.captions, self.rewards.floors_of(samples))
            )
        ]

    def _misses(self, sample: Sample, captions: Sequence[Caption]) -> bool:
        """Whether there is an annotated name that no caption says."""
        return bool(missed_terms(sample, [s for c in captions for s in self.rewards.spans(c.text, sample)]))

    def _show(
        self, groups: CaptionBatch, records: list[GroupRecord], stage: RlStage, key: str, mine: Rollout
    ) -> tuple[CaptionBatch, list[GroupRecord]]:
        """The groups with their demonstrations, and what those are worth."""
        samples = [request.sample for request in groups.prefixes.requests]
        texts, values = self.demonstrations(stage.demonstrations, samples, groups.captions, key)
        mine.lost.update(self.demonstrations.failures)
        mine.why |= self.demonstrations.why
        more = self.policy.tokenize(groups.prefixes, [[text or "" for text in given] for given in texts])
        there = torch.tensor([[text is not None for text in given] for given in texts], device=more.mask.device)
        joined = groups.join(replace(more, mask=more.mask & there.unsqueeze(-1)))
        return joined, [replace(one, shown=shown) for one, shown in zip(records, values)]


def sampling_of(stage: RlStage) -> SamplingParams:
    """How the captions of a stage are drawn.

    Raises:
        RecipeError: not from the policy itself, so that their log-probabilities under it would teach something else.
    """
    sampling = stage.sampling.to_types()
    if not strategy_of(sampling).policy_logprobs:
        key, value, none = ("guidance", f"{sampling.guidance:g}", "at 1")
        if sampling.strategy:
            key, value, none = ("strategy", sampling.strategy, "empty")
        raise RecipeError(
            f"stages.{stage.name}.sampling.{key}: {value} draws captions from another distribution than the policy "
            f"that learns from them; leave it {none} (evaluation.sampling.{key} may be another)"
        )
    return sampling


def slices(items: Sequence[Any], size: int | None) -> Iterator[Any]:
    """Cut into pieces of `size`; one piece when None, none when empty."""
    size = size or max(1, len(items))
    return (items[start : start + size] for start in range(0, len(items), size))


def cut(
    policy: HFPolicy, stage: SftStage | RlStage, groups: CaptionBatch, picked: Sequence[int]
) -> list[tuple[CaptionBatch, list[int]]]:
    """Some groups of a chunk in micro-batches, with their places in the chunk."""
    if not picked:
        return []
    if stage.micro_tokens is None:
        batches = [list(batch) for batch in slices(picked, stage.micro_batch)]
    else:
        costs = policy.row_tokens(groups)
        chosen = by_budget([costs[i] for i in picked], stage.micro_tokens)
        batches = [[picked[i] for i in b] for batch in chosen for b in slices(batch, stage.micro_batch)]
    return [(groups.select(batch), batch) for batch in batches]


def by_budget(costs: Sequence[int], budget: int) -> list[list[int]]:
    """Which items go together: padded to the costliest of a batch, a batch costs at most `budget`. Costliest first.

    An item that costs more than the budget makes a batch of its own.
    """
    batches: list[list[int]] = []
    room = 0
    for i in sorted(range(len(costs)), key=lambda i: -costs[i]):
        if not batches or room < 1:
            batches.append([])
            room = max(1, budget // max(1, costs[i]))
        batches[-1].append(i)
        room -= 1
    return batches
