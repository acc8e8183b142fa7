"""One trainer for imitation and reinforcement. `Trainer.step` reads like the algorithm."""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from PIL import Image
from torch import Tensor

from capwright.models import Groups, HFPolicy, Prefixes
from capwright.recipes.schema import RlStage, SftStage
from capwright.training import advantages as methods
from capwright.training.buffer import Buffer
from capwright.training.losses import amount, imitation_loss, kl_k3, policy_loss, token_weights
from capwright.training.plan import Order, learning_rate
from capwright.training.rewards import Rewards, summarize
from capwright.training.routing import STATES, States, route
from capwright.types import ImageError, ModelError, Request, RunError, Sample

Seen = list[tuple[Sample, Image.Image]]


@dataclass
class Part:
    """Captions that go through the model together: one micro-batch of the loss.

    Attributes:
        mask: bool [P, G, T], the tokens that count.
        advantages: [P, G]; None for captions to imitate.
        old, reference: log-probabilities [P, G, T] before the first update, and under the reference policy.
    """

    groups: Groups
    mask: Tensor
    advantages: Tensor | None = None
    old: Tensor | None = None
    reference: Tensor | None = None


@dataclass
class Materials:
    """What a run works with.

    Attributes:
        policy: what learns; see `capwright.models.HFPolicy`.
        data: the split to learn from: a sequence of samples with `by_id`; `fingerprint` tells it from others.
        rewards: those of the recipe; none when all stages imitate.
        open_image: reads a picture.
        prefix_trains: whether gradients reach what comes before the captions (projector, vision tower, embeddings).
            Otherwise encoded images are shared by sampling and loss as they are.
    """

    policy: HFPolicy
    data: Any
    fingerprint: str
    rewards: Rewards
    open_image: Callable[[Path], Image.Image]
    prefix_trains: bool = True


class Trainer:
    """One stage of a run, step by step.

    Args:
        stage: what the recipe says; `steps` how many steps that makes.
        accelerator: lets go of the former stage's optimizer; only one trainer at a time may use it.
        say: told about images that can not be used, and about settings that do not fit the data.
    """

    def __init__(
        self,
        materials: Materials,
        stage: SftStage | RlStage,
        steps: int,
        seed: int,
        accelerator: Accelerator,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.policy, self.data, self.rewards = materials.policy, materials.data, materials.rewards
        self.open_image, self.prefix_trains = materials.open_image, materials.prefix_trains
        self.stage, self.steps, self.seed = stage, steps, seed
        self.accelerator, self.say = accelerator, say
        self.keeps_graph = self.prefix_trains and stage.micro_batch is None
        self.order = Order(len(self.data), stage.images_per_step, seed)
        self.buffer = Buffer()
        self.imitation_batch = self._imitation_batch()
        self.generator = torch.Generator(self.policy.device).manual_seed(seed)
        self.parameters = [p for p in self.policy.model.parameters() if p.requires_grad]
        decayed = [p for p in self.parameters if p.dim() >= 2]
        plain = [p for p in self.parameters if p.dim() < 2]
        groups = [{"params": decayed, "weight_decay": stage.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW([g for g in groups if g["params"]], lr=stage.learning_rate)
        accelerator.free_memory()  # of the former stage: its states, and a second unscaling of gradients under fp16
        self.optimizer = accelerator.prepare(optimizer)
        self.counts = Counter(done=0, updates=0, skipped=0, imitated=0, unreadable=0)
        self.idle = Counter[str]()  # states of groups over the steps in a row without anything to learn

    def _imitation_batch(self) -> int:
        """How many images the buffer must hold: never more than there are to learn from."""
        if isinstance(self.stage, SftStage) or self.stage.on_failed != "imitate":
            return 0
        wanted, n = self.stage.imitation.batch, len(self.data)
        if wanted > n:
            self.say(f"{self.stage.name}: imitation.batch is {wanted}, but there are {n} images; imitating {n} at once")
        return min(wanted, n)

    # one step -------------------------------------------------------------------------------------------------------

    def step(self) -> dict[str, Any]:
        """Look at P images, say G captions of each, judge them, and learn from what they are worth.

        Returns:
            The step's numbers for metrics.jsonl.
        Raises:
            RunError: the loss is not finite, or there was nothing to learn from for `patience` steps.
        """
        batch = self._open(self.data[i] for i in self.order[self.counts["done"]])
        self.counts["done"] += 1
        row: dict[str, Any] = {"seen": len(batch)}
        entered = 0
        if isinstance(self.stage, SftStage):
            live, experts = [], self._imitations(batch)
        else:
            chunks = self._rollout(batch)
            rewards = self._judge(chunks)
            states = self._route(rewards)
            live = self._live_parts(chunks, rewards, states)
            if self.stage.on_failed == "imitate":
                samples = [request.sample for chunk in chunks for request in chunk.prefixes.requests]
                failed = (sample for sample, yes in zip(samples, states.failed.tolist()) if yes)
                entered = self.buffer.add(sample for sample in failed if targets(sample, self.stage.imitation.target))
            experts = []
            if 0 < self.imitation_batch <= len(self.buffer):
                waiting = self.buffer.take(self.imitation_batch)
                experts = self._imitations(self._open(self.data.by_id(sample_id) for sample_id in waiting))
            row |= self._describe(chunks, rewards, states)
        self._learn(live, experts, row, entered)
        return row

    # looking --------------------------------------------------------------------------------------------------------

    def _open(self, samples: Iterable[Sample]) -> Seen:
        """Samples with their pictures; pictures that can not be read are named and left out."""
        seen: Seen = []
        for sample in samples:
            try:
                seen.append((sample, self.open_image(sample.image)))
            except ImageError as error:
                self._leave_out(str(error))
        return seen

    def _leave_out(self, why: str) -> None:
        self.counts["unreadable"] += 1
        if self.counts["unreadable"] <= 10:
            self.say(f"left out: {why}")

    def _encode(self, seen: Seen) -> Prefixes | None:
        """Every picture through the vision tower once; those the model refuses are named and left out."""
        if not seen:
            return None
        with torch.set_grad_enabled(self.keeps_graph), self.accelerator.autocast():
            try:
                return self.policy.encode([Request(sample) for sample, _ in seen], [image for _, image in seen])
            except ModelError as error:
                if len(seen) == 1:
                    self._leave_out(str(error))
                    return None
        return self._encode([pair for pair in seen if self._encode([pair]) is not None])

    # saying and judging ---------------------------------------------------------------------------------------------

    def _rollout(self, batch: Seen) -> list[Groups]:
        """G captions of every image, a few images at once."""
        stage = self._rl
        self.policy.model.eval()
        chunks = []
        for pairs in slices(batch, stage.rollout_batch):
            if (prefixes := self._encode(pairs)) is not None:
                with self.accelerator.autocast():
                    sampling = stage.sampling.to_types()
                    chunks.append(self.policy.sample(prefixes, stage.captions_per_image, sampling, self.generator))
        return chunks

    def _judge(self, chunks: list[Groups]) -> Tensor:
        """Rewards [P, G, K] of all captions of the step, NaN where unknown."""
        found = [self.rewards([r.sample for r in chunk.prefixes.requests], chunk.captions) for chunk in chunks]
        return torch.cat(found) if found else torch.empty(0, self._rl.captions_per_image, len(self.rewards.weights))

    def _route(self, rewards: Tensor) -> States:
        given, summed = self.rewards, self._rl.advantage != "gdpo"
        return route(rewards, gates=given.gates, floors=given.floors, weights=given.weights, summed=summed)

    def _live_parts(self, chunks: list[Groups], rewards: Tensor, states: States) -> list[Part]:
        """What reinforcement learns from: the live groups alone, with their advantages, in micro-batches."""
        live = states.live.nonzero().flatten().tolist()
        if not live:
            return []
        method = getattr(methods, self._rl.advantage)
        signal = dict(zip(live, method(rewards[live], torch.tensor(self.rewards.weights))))
        parts, start = [], 0
        for chunk in chunks:
            inside = [i for i in range(len(chunk)) if start + i in signal]
            for picked in slices(inside, self.stage.micro_batch):
                groups = chunk.select(picked)
                mask = groups.mask
                if self._rl.mask_truncated:
                    ended = [[caption.finish != "length" for caption in group] for group in groups.captions]
                    mask = mask & torch.tensor(ended, device=mask.device).unsqueeze(-1)
                values = torch.stack([signal[start + i] for i in picked]).to(mask.device)
                parts.append(Part(groups, mask, values))
            start += len(chunk)
        return [part for part in parts if part.mask.any()]

    def _imitations(self, seen: Seen) -> list[Part]:
        """Given captions of these images, in micro-batches; images without any are left out."""
        rl = isinstance(self.stage, RlStage)
        where = self.stage.imitation.target if isinstance(self.stage, RlStage) else self.stage.target
        self.policy.model.train()  # whatever ran before: dropout in front of the captions, too
        parts = []
        for pairs in slices([pair for pair in seen if targets(pair[0], where)], self.stage.micro_batch):
            if (prefixes := self._encode(pairs)) is None:
                continue
            texts = []
            for request in prefixes.requests:
                given = targets(request.sample, where)
                chance = random.Random(f"{self.seed}/{self.counts['done']}/{request.sample.id}")
                texts.append(chance.sample(given, min(len(given), 1 if rl else self.stage.captions_per_image)))
            groups = self.policy.tokenize(prefixes, texts)
            parts.append(Part(groups, groups.mask))
        return parts

    # learning -------------------------------------------------------------------------------------------------------

    def _learn(self, live: list[Part], experts: list[Part], row: dict[str, Any], entered: int = 0) -> None:
        """One optimizer step on everything there is (`inner_epochs` of them on the live captions); adds to `row`."""
        rate = learning_rate(self.stage, self.counts["done"], self.steps)
        imitated = sum(len(part.groups) for part in experts)
        row |= {"imitated": imitated, "buffer": len(self.buffer), "lr": rate, "loss": None}
        row["tokens"] = row.get("tokens", 0) + sum(int(part.mask.sum()) for part in experts)
        if not live and not experts:
            self._nothing_to_learn(row.get("groups", {}), entered)
            return
        self.idle.clear()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        rounds = self.stage.inner_epochs if isinstance(self.stage, RlStage) else 1
        self._remember(live, rounds)
        for number in range(rounds if live else 1):
            found = self._backward([*live, *(experts if number == 0 else [])], first=number == 0)
            norm = self._update()
            if number == 0:
                row |= found | {"grad_norm": norm}
        self.counts["imitated"] += imitated

    def _remember(self, live: list[Part], rounds: int) -> None:
        """Log-probabilities that must stay as they are now: before the first update, and of the reference policy."""
        if not live or (rounds == 1 and not self._rl.kl.beta):
            return
        heat = self._rl.sampling.temperature
        self.policy.model.eval()
        with torch.no_grad(), self.accelerator.autocast():
            for part in live:
                part.old = self.policy.logprobs(part.groups, temperature=heat) if rounds > 1 else None
                if self._rl.kl.beta:
                    part.reference = self.policy.reference_logprobs(part.groups, temperature=heat)

    def _backward(self, parts: list[Part], first: bool) -> dict[str, float]:
        """Gradients of one loss over all parts; the normalizers are those of the whole step, so its cut is free."""
        by_kind = Counter[bool]()
        for part in parts:
            by_kind[part.advantages is None] += amount(part.mask, self.stage.normalizer)
        totals: dict[str, float] = defaultdict(float)
        self.policy.model.train()
        for part in parts:
            expert = part.advantages is None
            groups = part.groups
            if self.prefix_trains and not (self.keeps_graph and first):
                with self.accelerator.autocast():
                    groups = groups.with_prefixes(self.policy.encode_again(groups.prefixes))
            heat = 1.0 if expert else self._rl.sampling.temperature
            with self.accelerator.autocast():
                logprobs = self.policy.logprobs(groups, temperature=heat)
            weights = token_weights(part.mask, self.stage.normalizer, by_kind[expert])
            if part.advantages is None:
                term = imitation_loss(logprobs, weights)
                totals["loss_imitation"] += float(term.detach())
                loss = term * (self.stage.imitation.weight if isinstance(self.stage, RlStage) else 1.0)
            else:
                old = logprobs.detach() if part.old is None else part.old
                loss = policy_loss(logprobs, old, part.advantages, weights, self._rl.clip.low, self._rl.clip.high)
                totals["loss_policy"] += float(loss.detach())
                if part.reference is not None:
                    penalty = (weights * kl_k3(logprobs, part.reference)).sum()
                    totals["kl"] += float(penalty.detach())
                    loss = loss + self._rl.kl.beta * penalty
            totals["loss"] += float(loss.detach())
            if not math.isfinite(totals["loss"]):
                self.optimizer.zero_grad()
                raise RunError(f"{self._here}: the loss is {totals['loss']}; {FINITE_ADVICE}")
            self.accelerator.backward(loss)
        return {name: round(value, 6) for name, value in totals.items()}

    def _update(self) -> float | None:
        """Clip and step; the norm of the gradient before clipping. None when half precision skipped an overflow."""
        norm = float(self.accelerator.clip_grad_norm_(self.parameters, self.stage.max_grad_norm))
        scaler = self.accelerator.scaler  # of fp16: overflows are skipped, and the scale falls until there are none
        if not math.isfinite(norm) and (scaler is None or scaler.get_scale() < 1.0):
            self.optimizer.zero_grad()
            raise RunError(f"{self._here}: the gradient is {norm}; {FINITE_ADVICE}")
        self.optimizer.step()
        self.optimizer.zero_grad()
        if not math.isfinite(norm):
            self.counts["skipped"] += 1
            return None
        self.counts["updates"] += 1
        return round(norm, 6)

    def _nothing_to_learn(self, states: dict[str, int], entered: int) -> None:
        """No optimizer step (AdamW would drift on its momentum); enough of these in a row end the run."""
        self.counts["skipped"] += 1
        if entered:  # not idle: the buffer fills, the next imitation comes closer
            self.idle.clear()
            return
        self.idle["steps"] += 1
        self.idle.update(states)
        if self.idle["steps"] < self.stage.patience:
            return
        total = sum(self.idle[state] for state in STATES)
        if total == 0:
            why = "no image could be read, or none has a caption to imitate"
        else:
            why = ", ".join(f"{100 * self.idle[s] / total:.0f} % {s}" for s in STATES if self.idle[s])
        steps = f"{self.stage.patience} steps in a row"
        raise RunError(f"{self._here}: nothing to learn from in {steps} ({why}). {IDLE_ADVICE}")

    def _describe(self, chunks: list[Groups], rewards: Tensor, states: States) -> dict[str, Any]:
        captions = [caption for chunk in chunks for group in chunk.captions for caption in group]
        n = max(1, len(captions))
        return summarize(list(self.rewards.views), rewards) | {
            "groups": states.counts(),
            "tokens": sum(int(chunk.mask.sum()) for chunk in chunks),
            "caption_words": round(sum(len(caption.text.split()) for caption in captions) / n, 3),
            "truncated": round(sum(caption.finish == "length" for caption in captions) / n, 4),
        }

    # state ----------------------------------------------------------------------------------------------------------

    @property
    def _rl(self) -> RlStage:
        assert isinstance(self.stage, RlStage)
        return self.stage

    @property
    def _here(self) -> str:
        return f"stage '{self.stage.name}' step {self.counts['done']}"

    def state_dict(self) -> dict[str, Any]:
        """Everything but the policy's weights and the global random states."""
        return {
            "counts": dict(self.counts),
            "idle": dict(self.idle),
            "buffer": self.buffer.state_dict(),
            "generator": self.generator.get_state(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.accelerator.scaler.state_dict() if self.accelerator.scaler else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.counts, self.idle = Counter(state["counts"]), Counter(state["idle"])
        self.buffer.load_state_dict(state["buffer"])
        self.generator.set_state(state["generator"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.accelerator.scaler and state["scaler"]:
            self.accelerator.scaler.load_state_dict(state["scaler"])


FINITE_ADVICE = "this update was not made. Try a lower learning_rate, a lower max_grad_norm, or bf16 for fp16"
IDLE_ADVICE = (
    "All failed: warm up longer, imitate failed images (kind: rsrs), or lower imitation.batch. All saturated: the "
    "reward is too easy, or sampling too cold. All unknown: the reward can not be measured on these images"
)


def targets(sample: Sample, where: str) -> list[str]:
    """The captions of a sample that can be imitated: "references" or "meta.<key>" (a list of strings, or one)."""
    given = sample.references if where == "references" else sample.meta.get(where.removeprefix("meta."), ())
    found = [given] if isinstance(given, str) else list(given) if isinstance(given, (list, tuple)) else []
    return [text for text in found if isinstance(text, str) and text.strip()]


def slices(items: Sequence[Any], size: int | None) -> Iterator[Any]:
    """Cut into pieces of `size`; one piece when None, none when empty."""
    size = size or max(1, len(items))
    return (items[start : start + size] for start in range(0, len(items), size))
