"""One trainer for imitation and reinforcement. `Trainer.step` reads like the algorithm."""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from capwright.models import CaptionBatch
from capwright.recipes import RlStage, SftStage
from capwright.training.advantage_estimator import make_estimator
from capwright.training.advantages import STATES, States
from capwright.training.buffer import Buffer
from capwright.training.demonstrations import targets
from capwright.training.distributed import ProcessGroup
from capwright.training.losses import imitation_loss, kl, loss_denominator, policy_loss, reinforce_loss, token_weights
from capwright.training.monitors import RewardMonitor
from capwright.training.rewards import LengthReward, summarize
from capwright.training.rollout import Rollout, RolloutWorker, TrainingSetup, cut, slices
from capwright.training.schedule import images_for, learning_rate, make_order, stage_steps
from capwright.types import RunError, Sample


@dataclass
class MicroBatch:
    """Captions that go through the model together: one micro-batch of the loss.

    Attributes:
        mask: bool [P, G, T], the tokens that count.
        advantages: [P, G]; None for captions to imitate.
        old, reference: log-probabilities [P, G, T] before the first update, and under the reference policy.
    """

    groups: CaptionBatch
    mask: Tensor
    advantages: Tensor | None = None
    old: Tensor | None = None
    reference: Tensor | None = None


class Trainer:
    """One stage of a run, step by step.

    Args:
        stage: what the recipe says.
        team: the processes that take these steps together; the model is wrapped already.
        say: told about images that cannot be used, and about settings that do not fit the data.
    """

    def __init__(
        self,
        materials: TrainingSetup,
        stage: SftStage | RlStage,
        seed: int,
        processes: ProcessGroup,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.policy, self.data, self.rewards = materials.policy, materials.data, materials.rewards
        self.stage, self.seed, self.processes, self.say = stage, seed, processes, say
        whole_steps = stage.micro_batch is None and stage.micro_tokens is None and not processes.sharded
        self.prefix_trains = materials.prefix_trains
        self.worker = RolloutWorker(materials, processes, keeps_graph=self.prefix_trains and whole_steps)
        self.data = images_for(stage, self.data)
        self.steps = stage_steps(stage, len(self.data))
        self.order = (materials.order or make_order)(self.data, stage, seed)
        self.buffer = Buffer()
        self.imitation_batch = self._imitation_batch()
        self.parameters = [p for p in self.policy.model.parameters() if p.requires_grad]
        decayed = [p for p in self.parameters if p.dim() >= 2]
        plain = [p for p in self.parameters if p.dim() < 2]
        groups = [{"params": decayed, "weight_decay": stage.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW([g for g in groups if g["params"]], lr=stage.learning_rate)
        self.accelerator = processes.accelerator
        self.accelerator.free_memory()  # of the former stage: its states, and a second unscaling of gradients in fp16
        self.optimizer = self.accelerator.prepare(optimizer)
        self.counts = Counter(done=0, drawn=0, updates=0, skipped=0, imitated=0, unreadable=0, judged=0, failures=0)
        self.idle = Counter[str]()  # states of groups over the steps in a row without anything to learn
        if isinstance(stage, RlStage):
            self.estimator = make_estimator(stage, materials, processes)
            pairs = zip(self.rewards.views.values(), self.rewards.weights)
            watched = [0.0 if isinstance(view, LengthReward) else weight for view, weight in pairs]  # length by design
            self.monitor = RewardMonitor(list(self.rewards.views), watched)
        self._spare: MicroBatch | None = None  # keeps sharded processes company that have fewer parts than others

    def _imitation_batch(self) -> int:
        """How many images the buffer must hold: never more than there are to learn from."""
        if isinstance(self.stage, SftStage) or self.stage.on_failed != "imitate":
            return 0
        wanted, where = self.stage.imitation.batch, self.stage.imitation.target
        n = len(list(islice((sample for sample in self.data if targets(sample, where)), wanted)))
        if wanted > n:
            there = f"there are {n} images with a caption to imitate; imitating {n} at once"
            self.say(f"{self.stage.name}: imitation.batch is {wanted}, but {there}")
        return n

    # one step -------------------------------------------------------------------------------------------------------

    def step(self) -> dict[str, Any]:
        """Look at P images, say G captions of each, judge them, and learn from what they are worth.

        Returns:
            The step's numbers for metrics.jsonl, the same in all processes.
        Raises:
            RunError: the loss is not finite, rewards fail too often, or there was nothing to learn from for `patience`
                steps.
        """
        self.counts["done"] += 1
        row: dict[str, Any] = {}
        live, experts, entered = [], [], 0
        if isinstance(self.stage, SftStage):
            batch = self._next_images()
            row["seen"] = len(batch)
            experts = self._imitations(batch)
        else:
            rollout, states, row["seen"] = self._rollout()
            advantages = self.estimator.advantages(rollout, states)
            live = self._live_parts(rollout, advantages)
            if self.stage.on_failed == "imitate":
                waiting = states.failed & ~self.estimator.trainable(rollout, states)
                missed = torch.tensor([one.missed for one in rollout.records], dtype=torch.bool) & ~states.unknown
                failed = [self.data.by_id(rollout.records[i].sample_id) for i in (waiting | missed).nonzero().flatten()]
                entered = self.buffer.add(s for s in failed if targets(s, self.stage.imitation.target))
            if 0 < self.imitation_batch <= len(self.buffer):
                experts = self._imitations([self.data.by_id(name) for name in self.buffer.take(self.imitation_batch)])
            row |= self._describe(rollout, states)
            if self.stage.demonstrations:
                row["demonstrated"] = sum(
                    int((a[self.stage.captions_per_image :] > 0).sum()) for a in advantages.values()
                )
        self._tell()
        self._learn(live, experts, row, entered)
        return row

    def _next_images(self) -> list[Sample]:
        """The images of the next step, for all processes together."""
        self.counts["drawn"] += 1
        return [self.data[i] for i in self.order[self.counts["drawn"] - 1]]

    def _rollout(self) -> tuple[Rollout, States, int]:
        """The captions of the step, the states of their groups, and how many images were looked at. Under `on_failed:
        resample` it looks at further images while too few groups teach (dynamic sampling, arXiv 2503.14476), a bounded
        number of times."""
        stage, rollout, seen, wanted = self._rl, Rollout(), 0, 0
        key = f"{self.seed}/{self.counts['done']}"
        for turn in range(stage.resample_rounds + 1 if stage.on_failed == "resample" else 1):
            batch = self._next_images()
            rollout, seen = rollout + self.worker.rollout(batch, stage, f"{key}/{turn}"), seen + len(batch)
            states, wanted = self.estimator.route(rollout), wanted or len(batch)
            if not rollout.records or int(self.estimator.trainable(rollout, states).sum()) >= wanted:
                break
        return rollout, states, seen

    def _tell(self) -> None:
        """Name the images that could not be used, of all processes."""
        left_out = self.processes.gather(self.worker.left_out)
        self.worker.left_out = []
        for why in left_out:
            self.counts["unreadable"] += 1
            if self.counts["unreadable"] <= 10:
                self.say(f"left out: {why}")

    # micro-batches --------------------------------------------------------------------------------------------------

    def _live_parts(self, rollout: Rollout, advantages: dict[int, Tensor]) -> list[MicroBatch]:
        """What reinforcement learns from in this process: the live groups alone, with their advantages."""
        parts = []
        for chunk, places in rollout.by_chunk():
            inside = [i for i, place in enumerate(places) if place in advantages]
            for groups, batch in cut(self.policy, self.stage, chunk, inside):
                mask = groups.mask
                if self._rl.mask_truncated:
                    ended = [[caption.finish != "length" for caption in group] for group in groups.captions]
                    mask = mask & torch.tensor(ended, device=mask.device).unsqueeze(-1)
                values = torch.stack([advantages[places[i]] for i in batch]).to(mask.device)
                shown = torch.arange(mask.shape[1], device=mask.device) >= self._rl.captions_per_image
                mask = mask & ~(shown & (values <= 0)).unsqueeze(-1)  # a demonstration no better than the group
                if self._rl.credit == "names":
                    mask = mask & self._names(groups, {"right", "wrong", "generic", "vague"}, spare=True)
                parts.append(MicroBatch(groups, mask, values))
            if self.processes.sharded:
                self._spare = MicroBatch(chunk.select([0]), chunk.select([0]).mask)
        return [part for part in parts if part.mask.any()]

    def _imitations(self, samples: Sequence[Sample]) -> list[MicroBatch]:
        """Given captions of this process's share of these images; images without any are left out."""
        rl = isinstance(self.stage, RlStage)
        where = self.stage.imitation.target if isinstance(self.stage, RlStage) else self.stage.target
        self.policy.model.train()  # whatever ran before: dropout in front of the captions, too
        mine = self.processes.shard([sample for sample in samples if targets(sample, where)])
        with self.processes.unsharded_weights():
            encoded = [self.worker.encode(some) for some in slices(mine, self.stage.micro_batch)]
        parts = []
        for prefixes in encoded:
            if prefixes is None:
                continue
            texts = []
            for request in prefixes.requests:
                given = targets(request.sample, where)
                chance = random.Random(f"{self.seed}/{self.counts['done']}/{request.sample.id}")
                wanted = self._rl.imitation.captions if rl else self.stage.captions_per_image
                texts.append(chance.sample(given, min(len(given), wanted)))
            groups = self.policy.tokenize(prefixes, texts)
            for batch, _ in cut(self.policy, self.stage, groups, range(len(groups))):
                mask = batch.mask
                if rl and self._rl.imitation.tokens == "names":
                    mask = mask & self._names(batch, {"right"})
                if mask.any():
                    parts.append(MicroBatch(batch, mask))
        if self.processes.sharded and parts:
            self._spare = parts[-1]
        return parts

    def _names(self, groups: CaptionBatch, wanted: set[str], spare: bool = False) -> Tensor:
        """Which tokens bool [P, G, T] belong to names of a wanted status; `spare`: all, in captions without any."""
        found = torch.zeros_like(groups.mask)
        for p, (request, captions) in enumerate(zip(groups.prefixes.requests, groups.captions)):
            for g, caption in enumerate(captions):
                spans = [s for s in self.rewards.spans(caption.text, request.sample) if s.status in wanted]
                if not spans:
                    found[p, g] = spare
                    continue
                for t, (start, end) in enumerate(self.policy.offsets(caption.tokens, caption.text)):
                    found[p, g, t] = any(start < span.end and span.start < end for span in spans)
        return found

    # learning -------------------------------------------------------------------------------------------------------

    def _learn(self, live: list[MicroBatch], experts: list[MicroBatch], row: dict[str, Any], entered: int = 0) -> None:
        """One optimizer step on everything there is (`inner_epochs` of them on the live captions); adds to `row`."""
        rate = learning_rate(self.stage, self.counts["done"], self.steps)
        longest = self.stage.sampling.max_tokens if isinstance(self.stage, RlStage) else 1
        size = self.stage.normalizer, longest
        sums = self.processes.sum(
            {
                "live": sum(loss_denominator(part.mask, *size) for part in live),
                "experts": sum(loss_denominator(part.mask, *size) for part in experts),
                "tokens": sum(int(part.mask.sum()) for part in experts),
                "imitated": sum(len(part.groups) for part in experts),
            }
        )
        imitated = int(sums["imitated"])
        row |= {"imitated": imitated, "buffer": len(self.buffer), "lr": rate, "loss": None}
        row["tokens"] = row.get("tokens", 0) + int(sums["tokens"])
        if not sums["live"] and not sums["experts"]:
            self._nothing_to_learn(row.get("groups", {}), entered)
            return
        self.idle.clear()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        rounds = self.stage.inner_epochs if isinstance(self.stage, RlStage) and sums["live"] else 1
        self._remember(live, rounds)
        for number in range(rounds):
            found = self._backward([*live, *(experts if number == 0 else [])], sums, first=number == 0)
            norm = self._update()
            if number == 0:
                row |= found | {"grad_norm": norm}
        self.counts["imitated"] += imitated

    def _remember(self, live: list[MicroBatch], rounds: int) -> None:
        """Log-probabilities that must stay as they are now: before the first update, and of the reference policy."""
        if not isinstance(self.stage, RlStage):
            return
        penalized = self.stage.kl.beta > 0 and self.stage.kl.place == "loss"
        if rounds == 1 and not penalized:
            return
        temperature = self.stage.sampling.temperature
        self.policy.model.eval()
        with torch.no_grad(), self.accelerator.autocast(), self.processes.unsharded_weights():
            for part in live:
                part.old = self.policy.logprobs(part.groups, temperature=temperature) if rounds > 1 else None
                if penalized:
                    part.reference = self.policy.reference_logprobs(part.groups, temperature=temperature)

    def _backward(self, parts: list[MicroBatch], sums: dict[str, float], first: bool) -> dict[str, float]:
        """Gradients of one loss over all parts of all processes. The normalizers are those of the whole step, so it
        does not matter how the step is cut. Imitation joins the same loss: one backward boundary, one update."""
        totals: dict[str, float] = defaultdict(float)
        self.policy.model.train()
        for part in self._pad_micro_batches(parts):
            loss = self.processes.compute(lambda part=part: self._loss(part, sums, first, totals))  # type: ignore[misc]
            self.processes.backward(loss)
        self.processes.add_gradients(self.parameters)
        totals = self.processes.sum(totals)
        if not math.isfinite(totals["loss"]):
            self.optimizer.zero_grad()
            raise RunError(f"{self._here}: the loss is {totals['loss']}; {FINITE_ADVICE}")
        return {name: round(value, 6) for name, value in totals.items()}

    def _pad_micro_batches(self, parts: list[MicroBatch]) -> list[MicroBatch]:
        """With sharded weights all processes run the model equally often: some once more for a loss of 0."""
        if not self.processes.sharded:
            return parts
        missing = max(self.processes.gather([len(parts)])) - len(parts)
        spare = parts[-1] if parts else self._spare
        if not missing:
            return parts
        if spare is None:
            raise RunError(f"{self._here}: process {self.processes.rank} has no image; raise images_per_step")
        return [*parts, *[replace(spare, mask=torch.zeros_like(spare.mask), advantages=None)] * missing]

    def _loss(self, part: MicroBatch, sums: dict[str, float], first: bool, totals: dict[str, float]) -> Tensor:
        """The share of one part in the loss of the step; adds its terms to `totals`."""
        groups, stage = part.groups, self.stage
        with self.accelerator.autocast():
            if self.prefix_trains and not (self.worker.keeps_graph and first):
                groups = groups.with_prefixes(self.policy.encode_again(groups.prefixes))
            temperature = 1.0 if part.advantages is None else self._rl.sampling.temperature
            logprobs = self.policy.logprobs(groups, temperature=temperature)
        total = int(sums["experts" if part.advantages is None else "live"])
        weights = token_weights(part.mask, stage.normalizer, total)
        if part.advantages is None:
            phi, scale = (stage.imitation.phi, stage.imitation.weight) if isinstance(stage, RlStage) else (False, 1.0)
            term = imitation_loss(logprobs, weights, phi)
            totals["loss_imitation"] += float(term.detach())
            loss = term * scale
        else:
            if self._rl.surrogate == "reinforce":
                loss = reinforce_loss(logprobs, part.advantages, weights)
            else:
                old = logprobs.detach() if part.old is None else part.old
                loss = policy_loss(logprobs, old, part.advantages, weights, self._rl.clip.low, self._rl.clip.high)
            totals["loss_policy"] += float(loss.detach())
            if part.reference is not None:
                penalty = (weights * kl(logprobs, part.reference, self._rl.kl.estimator)).sum()
                totals["kl"] += float(penalty.detach())
                loss = loss + self._rl.kl.beta * penalty
        totals["loss"] += float(loss.detach())
        return loss

    def _update(self) -> float | None:
        """Clip and step; the norm of the gradient before clipping. None when half precision skipped an overflow."""
        found = self.accelerator.clip_grad_norm_(self.parameters, self.stage.max_grad_norm)
        norm = float(found.full_tensor() if hasattr(found, "full_tensor") else found)
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
        if self.idle["steps"] < min(self.stage.patience, max(5, self.steps)):  # all of a stage that is shorter
            return
        total = sum(self.idle[state] for state in STATES)
        if total == 0:
            why = "no image could be read, or none has a caption to imitate"
        else:
            why = ", ".join(f"{100 * self.idle[s] / total:.0f} % {s}" for s in STATES if self.idle[s])
        steps = f"{self.idle['steps']} steps in a row"
        raise RunError(f"{self._here}: nothing to learn from in {steps} ({why}). {IDLE_ADVICE}")

    # telling --------------------------------------------------------------------------------------------------------

    def _describe(self, rollout: Rollout, states: States) -> dict[str, Any]:
        """The numbers of what was said; says alarms, and stops when too many rewards fail."""
        values = rollout.values(len(self.rewards.weights))
        texts = [one.texts for one in rollout.records]
        seen = self.monitor.look(values, texts)
        for text in seen["alarms"]:
            self.say(f"warning: {self._here}: {text}")
        self._count_failures(rollout, sum(len(group) for group in texts))
        row = summarize(list(self.rewards.views), values) | {"groups": states.counts()} | rollout.describe() | seen
        row |= {"failures": dict(rollout.failures)} if rollout.failures else {}
        return row | ({"lost_demonstrations": dict(rollout.lost)} if rollout.lost else {})

    def _count_failures(self, rollout: Rollout, captions: int) -> None:
        worst = max(rollout.failures.values(), default=0)
        if worst and not self.counts["failures"]:
            self.say(f"warning: {self._here}: {worst} captions without a reward: {rollout.why}")
        if rollout.lost and not self.counts["lost_demonstrations"]:
            lost = max(rollout.lost.values())
            self.say(f"warning: {self._here}: {lost} demonstrations without a reward, not shown: {rollout.why}")
        self.counts.update(lost_demonstrations=sum(rollout.lost.values()))
        self.counts.update(judged=captions, failures=worst)
        share = self.counts["failures"] / max(1, self.counts["judged"])
        if worst and share > self._rl.max_failures:
            name = max(rollout.failures, key=lambda name: rollout.failures[name])
            raise RunError(
                f"{self._here}: reward '{name}' could not be measured for {share:.0%} of all captions so far "
                f"(max_failures is {self._rl.max_failures:g}). Mend it and resume; the last error: {rollout.why[name]}"
            )

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
            "credit": self.estimator.mean if isinstance(self.stage, RlStage) else None,
            "alarms": self.monitor.state_dict() if isinstance(self.stage, RlStage) else None,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.accelerator.scaler.state_dict() if self.accelerator.scaler else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.counts, self.idle = Counter(state["counts"]), Counter(state["idle"])
        self.buffer.load_state_dict(state["buffer"])
        if isinstance(self.stage, RlStage):
            self.estimator.mean = state["credit"]
            self.monitor.load_state_dict(state["alarms"])
        ordered = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.optimizer.load_state_dict(self.processes.shard_state(state["optimizer"], ordered))
        if self.accelerator.scaler and state["scaler"]:
            self.accelerator.scaler.load_state_dict(state["scaler"])


FINITE_ADVICE = "this update was not made. Try a lower learning_rate, a lower max_grad_norm, or bf16 for fp16"
IDLE_ADVICE = (
    "All failed: warm up longer, imitate failed images (kind: rsrs), show expert captions (demonstrations), or lower "
    "imitation.batch. All saturated: the reward is too easy, or sampling too cold. All unknown: the reward cannot be "
    "measured on these images"
)
