"""What each caption of a step gets credit for: rewards of all processes become states of groups and advantages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from capwright import plugins
from capwright.recipes import RlStage
from capwright.recipes.stages import ADVANTAGES
from capwright.training.advantages import TOLERANCE, States, route
from capwright.training.distributed import ProcessGroup
from capwright.training.losses import kl
from capwright.training.rollout import Rollout, TrainingSetup, cut
from capwright.types import CapwrightError, RecipeError, RunError


def make_estimator(stage: RlStage, materials: TrainingSetup, processes: ProcessGroup) -> AdvantageEstimator:
    """The estimator of a stage: of a class that its `advantage` names, or ours with the function that it names."""
    own = plugins.resolve("advantage", stage.advantage, ADVANTAGES, RecipeError)
    return (own if isinstance(own, type) else AdvantageEstimator)(stage, materials, processes)


def try_advantage(stage: RlStage, n_rewards: int) -> None:
    """Call an advantage of one's own once, so that what is wrong with it shows before anything is trained.

    Raises:
        RecipeError: it is neither a function nor an `AdvantageEstimator`. RunError: it fails, or its shape is wrong.
    """
    own = plugins.resolve("advantage", stage.advantage, ADVANTAGES, RecipeError)
    if not (issubclass(own, AdvantageEstimator) if isinstance(own, type) else callable(own)):
        raise RecipeError(
            f"advantage {stage.advantage}: must be a function, or a class that extends AdvantageEstimator"
        )
    if stage.advantage not in ADVANTAGES and not isinstance(own, type):
        rewards = torch.zeros(1, stage.group_size, n_rewards, dtype=torch.float64)
        _call(stage.advantage, own, rewards, torch.ones(n_rewards, dtype=torch.float64), {})


class AdvantageEstimator:
    """The same in all processes, since all know all rewards.

    A class of one's own extends this one, in `from_rewards` or in any other method; what it keeps from step to step
    must be in `mean`, which checkpoints save.

    Attributes:
        mean: running mean [K] of rewards, of `advantage: mean_baseline`; None before its first step.
    """

    def __init__(self, stage: RlStage, materials: TrainingSetup, processes: ProcessGroup) -> None:
        self.stage, self.policy, self.rewards, self.processes = stage, materials.policy, materials.rewards, processes
        self.function: Any = plugins.resolve("advantage", stage.advantage, ADVANTAGES, RecipeError)
        self.mean: Tensor | None = None

    def route(self, rollout: Rollout) -> States:
        """The state of every group of the step."""
        given, summed = self.rewards, self.stage.advantage != "gdpo"
        floors = rollout.stacked("floors") if rollout.records else None
        values = rollout.values(len(given.weights))
        return route(values, gates=given.gates, floors=floors, weights=given.weights, summed=summed)

    def trainable(self, rollout: Rollout, states: States) -> Tensor:
        """Which groups [P] are learned from."""
        taught = states.live | states.saturated if self.stage.on_saturated == "keep" else states.live
        if not self.stage.demonstrations or not rollout.records:
            return taught
        return taught | (self.surpassed(rollout) & ~states.unknown)

    def surpassed(self, rollout: Rollout) -> Tensor:
        """Groups [P] with a demonstration that is worth more than every sampled caption: in the sum of the rewards, or
        under gdpo in some reward. One that is not there, or not known, is worth nothing."""
        scale = torch.tensor(self.rewards.weights, dtype=torch.float64)
        values, shown = (rollout.stacked(what)[..., scale != 0] * scale[scale != 0] for what in ("values", "shown"))
        if self.stage.advantage != "gdpo":
            values, shown = values.sum(2, keepdim=True), shown.sum(2, keepdim=True)
        return (shown > values.amax(1, keepdim=True) + TOLERANCE).flatten(1).any(1)

    def advantages(self, rollout: Rollout, states: States) -> dict[int, Tensor]:
        """Advantages [G] of the groups to learn from, by their place in the rollout; the same in all processes."""
        stage = self.stage
        places = self.trainable(rollout, states).nonzero().flatten().tolist()
        penalties = self._penalties(rollout, places) if stage.kl.beta and stage.kl.place == "reward" else None
        if not rollout.records:
            return {}
        values, weights = rollout.stacked("values"), torch.tensor(self.rewards.weights, dtype=torch.float64)
        options: dict = {"whiten": stage.whiten} if stage.advantage == "gdpo" else {}
        if stage.advantage == "scst":
            options["greedy"] = rollout.stacked("greedy")[places]
        if stage.advantage == "mean_baseline":
            now = values.flatten(0, 1).nanmean(0)
            before = now if self.mean is None else torch.where(self.mean.isnan(), now, self.mean)
            options["mean"] = before
            later = stage.baseline_memory * before + (1.0 - stage.baseline_memory) * now
            self.mean = torch.where(now.isnan(), before, later)
        values = torch.cat([values, rollout.stacked("shown")], 1)[places]
        if penalties is not None:  # one more reward, whose baseline from outside the group is 0
            values = torch.cat([values, penalties.unsqueeze(-1)], -1)
            weights = torch.cat([weights, weights.new_tensor([-stage.kl.beta])])
            options = {name: torch.nn.functional.pad(value, (0, 1)) for name, value in options.items()}
        found = self.from_rewards(values, weights, options)
        if stage.demonstrations:  # never away from one: where it is worse than what was sampled, it is left out
            sampled, shown = found[:, : stage.captions_per_image], found[:, stage.captions_per_image :]
            found = torch.cat([sampled, stage.demonstration_weight * shown.nan_to_num(0.0).clamp(min=0.0)], 1)
        penalized = stage.kl.beta > 0 and stage.kl.place == "loss"  # then a group of zeros still has something to lose
        kept = ~found.isnan().any(1) & ((found != 0).any(1) | penalized)
        return {place: row for place, row, keep in zip(places, found, kept.tolist()) if keep}

    def from_rewards(self, values: Tensor, weights: Tensor, options: dict[str, Any]) -> Tensor:
        """The function that the stage names: rewards [P, G, K] and weights [K] to advantages [P, G]."""
        return _call(self.stage.advantage, self.function, values, weights, options)

    def _penalties(self, rollout: Rollout, places: Sequence[int]) -> Tensor:
        """KL from the reference summed over each caption, [len(places), G], of all processes."""
        stage = self.stage
        mine: list[tuple[int, Tensor]] = []
        self.policy.model.eval()
        wanted = set(places)
        with torch.no_grad(), self.processes.accelerator.autocast(), self.processes.unsharded_weights():
            for chunk, here in rollout.by_chunk():
                inside = [i for i, place in enumerate(here) if place in wanted]
                for groups, batch in cut(self.policy, stage, chunk, inside):
                    temperature = stage.sampling.temperature
                    now = self.policy.logprobs(groups, temperature=temperature)
                    gap = kl(now, self.policy.reference_logprobs(groups, temperature=temperature), stage.kl.estimator)
                    sums = (gap * groups.mask).sum(-1).to("cpu", torch.float64)
                    mine += [(here[i], row) for i, row in zip(batch, sums)]
        found = dict(self.processes.gather(mine))
        empty = torch.empty(0, stage.group_size, dtype=torch.float64)
        return torch.stack([found[place] for place in places]) if found else empty


def _call(name: str, function: Any, values: Tensor, weights: Tensor, options: dict[str, Any]) -> Tensor:
    """See `AdvantageEstimator.from_rewards`. Raises RunError when it fails, or its shape is wrong."""
    try:
        found = torch.as_tensor(function(values, weights, **options), dtype=torch.float64)
    except CapwrightError:
        raise
    except Exception as error:
        raise RunError(f"advantage {name}: failed: {plugins.describe(error)}") from error
    if found.shape != values.shape[:2]:
        made, wanted = list(found.shape), list(values.shape[:2])
        raise RunError(f"advantage {name}: must give a number for each caption, {wanted}; it gave {made}")
    return found
