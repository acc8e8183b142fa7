"""What a run needs, before anything is trained: data, rewards, and the captioner."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from capwright.models import FeatureCache, HFPolicy, LoadOptions, load_policy
from capwright.recipes.plugin_files import load_plugins
from capwright.recipes.schema import Recipe
from capwright.recipes.stages import RlStage, SftStage
from capwright.runs import checkpoint
from capwright.runs.checkpoint import replacing
from capwright.runs.drawn_scenes import draw_scenes, scenes_folder
from capwright.training.advantage_estimator import try_advantage
from capwright.training.demonstrations import targets
from capwright.training.distributed import device_of, join
from capwright.training.rewards import make_rewards
from capwright.training.rollout import TrainingSetup, sampling_of
from capwright.types import RecipeError

#: What to do about it, whatever ran out.
OUT_OF_MEMORY = "out of memory; lower micro_batch, micro_tokens, rollout_batch or model.max_pixels"


def open_data(recipe: Recipe, out: Path, progress: Callable[[int, int], None] | None = None) -> Any:
    """The dataset of a recipe, all splits; built-in scenes are built into `out` once."""
    from capwright.data import open_dataset

    if recipe.data.path is not None:
        return open_dataset(recipe.data.path)
    scenes = recipe.data.scenes
    assert scenes is not None
    folder = scenes_folder(scenes, out)
    if not folder.is_dir():
        with replacing(folder) as draft:
            draw_scenes(scenes, draft, progress)
    return open_dataset(folder)


def build_training_setup(recipe: Recipe, out: Path) -> TrainingSetup:
    """Open the data, prepare the rewards, load the model: whatever is missing shows before anything is trained."""
    from capwright.data import load_image

    load_plugins(recipe)
    accelerator = join(recipe)
    with accelerator.main_process_first():  # it may have to build the data, which the others then find
        whole = open_data(recipe, out)
    data = whole.split(recipe.data.train_split)
    for stage in recipe.stages:
        if isinstance(stage, RlStage):
            sampling_of(stage)  # raises where captions would be drawn from another distribution than the policy's
        if isinstance(stage, SftStage) or stage.on_failed == "imitate":
            where = stage.target if isinstance(stage, SftStage) else stage.imitation.target
            if not any(targets(data[i], where) for i in range(len(data))):
                way_out = "" if isinstance(stage, SftStage) else "; kind: rl with on_failed: drop imitates nothing"
                raise RecipeError(
                    f"stages.{stage.name}: no caption to imitate, the train split has no '{where}'{way_out}"
                )
        shown = isinstance(stage, RlStage) and stage.shows_references
        if shown and not any(data[i].references for i in range(len(data))):
            raise RecipeError(f"stages.{stage.name}.demonstrations: the train split has no references")
    rewards = make_rewards(recipe, data, whole.vocabulary)
    for stage in recipe.stages:
        if isinstance(stage, RlStage):
            try_advantage(stage, len(rewards.weights))
    open_image = partial(load_image, max_pixels=recipe.model.max_pixels)
    policy = load_recipe_policy(recipe, device=device_of(recipe, accelerator))
    return TrainingSetup(policy, data, whole.fingerprint, rewards, open_image, _prefix_trains(policy))


def _prefix_trains(policy: HFPolicy) -> bool:
    """Whether anything in front of the captions trains: vision tower, projector, or the embedding of words."""
    inner: Any = policy.inner
    behind = {id(p) for module in (policy.decoder, inner.get_output_embeddings()) for p in module.parameters()}
    behind -= {id(p) for p in inner.get_input_embeddings().parameters()}
    return any(p.requires_grad and id(p) not in behind for p in policy.model.parameters())


def load_recipe_policy(recipe: Recipe, name: str | Path | None = None, device: str | None = None) -> HFPolicy:
    """The captioner a recipe starts from, or another one (`name`) with its settings, elsewhere if `device` says so."""
    model = recipe.model
    checkpoint.seed_everything(recipe.seed)  # adapters begin at random
    options = LoadOptions(**model.model_dump(exclude={"name", "mixed_precision", "cache", "compile"}))
    policy = load_policy(model.name if name is None else name, options, device=device or model.device)
    if model.compile:
        policy.compile()
    if model.cache.memory_gb > 0:
        folder = Path(model.cache.folder) if model.cache.folder else None
        policy.cache = FeatureCache(int(model.cache.memory_gb * 2**30), folder)
    return policy


def warn_of_half_precision(policy: HFPolicy, say: Callable[[str], None]) -> None:
    """Say so when weights train in 16 bits: updates below their rounding (1/256 in bfloat16) are lost."""
    kinds = {p.dtype for p in policy.model.parameters() if p.requires_grad}
    if kinds and kinds <= {torch.bfloat16, torch.float16}:
        say(
            "warning: all weights train in half precision, where small updates are rounded away and the model hardly "
            "moves; use model.dtype: float32 with model.mixed_precision: bf16, or model.lora"
        )
