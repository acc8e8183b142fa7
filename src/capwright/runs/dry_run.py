"""Before a long run: say what it will do, and try its heaviest step. What is wrong with data or recipe is an error."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from capwright.models import CaptionBatch, EncodedPrompts
from capwright.recipes.schema import Recipe
from capwright.recipes.stages import RlStage, SftStage
from capwright.runs.judge_costs import asked_by
from capwright.runs.plan import make_plan
from capwright.runs.progress import Progress
from capwright.runs.setup import OUT_OF_MEMORY, build_training_setup, open_data, warn_of_half_precision
from capwright.training.demonstrations import targets
from capwright.training.distributed import join
from capwright.training.rollout import TrainingSetup
from capwright.types import DataError, ImageError, Request, Sample

#: So many images are looked at for the largest one; on bigger datasets they are spread evenly.
LOOKED_AT = 2000


def preview(recipe: Recipe, out: Path, progress: Progress, materials: TrainingSetup | None = None) -> None:
    """Print the plan; then, when weights and data are here, try the heaviest sample: its captions sampled (rl stages),
    and one forward and backward pass.

    Raises:
        DataError, RecipeError, ModelError: what is here cannot be used. Only a data folder or weights that are not on
            this machine are no error: the plan is printed without them.
    """
    missing, data = "", None
    if materials is None:
        if recipe.data.path is not None and not Path(recipe.data.path).exists():
            missing = f"{recipe.data.path}: does not exist"
        elif not weights_present(recipe.model.name):
            data = open_data(recipe, out).split(recipe.data.train_split)
            missing = f"the weights of {recipe.model.name} are not on this machine"
        else:
            materials = build_training_setup(recipe, out)
    if materials is not None:
        data = materials.data
    n = None if data is None else len(data)
    progress.say(f"recipe {recipe.name}: {'unknown number of' if n is None else f'{n:,}'} images to learn from")
    for stage, plan in zip(recipe.stages, make_plan(recipe, data)):
        progress.say(plan.line())
        if data is not None and isinstance(stage, RlStage):
            for line in asked_by(recipe, stage, data, plan.steps or 0):
                progress.say(f"{stage.name}: {line}")
    if materials is None:
        progress.say(f"memory not measured: {missing}")
        return
    warn_of_half_precision(materials.policy, progress.say)
    sample, images = heaviest(materials.data, materials.open_image, progress.say)
    for stage in recipe.stages:
        try:
            progress.say(f"{stage.name}: {heaviest_step(recipe, stage, materials, sample, images)}")
        except torch.OutOfMemoryError:
            progress.say(f"{stage.name}: the heaviest step runs {OUT_OF_MEMORY}")


def weights_present(name: str) -> bool:
    """Whether a model is on this machine, so that loading it downloads nothing."""
    if name == "embedded" or Path(name).is_dir():
        return True
    from huggingface_hub import try_to_load_from_cache

    try:
        return isinstance(try_to_load_from_cache(name, "config.json"), str)
    except ValueError:  # not the form of a model id
        return True


def heaviest_step(
    recipe: Recipe, stage: SftStage | RlStage, materials: TrainingSetup, sample: Sample, images: list[Image.Image]
) -> str:
    """Sample as many captions at once as the stage will (rl only), then one micro-batch with captions of the greatest
    length, forward and backward, and one of failed images where they are imitated; no update, and every image is this
    one."""
    policy, n = materials.policy, len(materials.data)
    rl = stage if isinstance(stage, RlStage) else None
    target = longest_target(materials.data, stage.target if isinstance(stage, SftStage) else stage.imitation.target)
    accelerator = join(recipe, policy)
    if policy.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(policy.device)

    def encoded(n: int) -> EncodedPrompts:
        return policy.encode([Request(sample)] * n, [images] * n)

    def group(n: int) -> CaptionBatch:
        prefixes, text, limit = encoded(n), target, None
        if rl:
            limit = rl.sampling.max_tokens
            text = " ".join((text.split() * limit)[:limit])  # a word is a token or more
        groups = policy.tokenize(prefixes, [[text] * stage.captions_per_image] * n, limit)
        if rl and rl.demonstrations:  # these are not cut
            shown = longest_target(materials.data, "references") if rl.shows_references else text
            groups = groups.join(policy.tokenize(prefixes, [[shown] * len(rl.demonstrations)] * n))
        return groups

    def tried(making: Callable[[int], CaptionBatch], n_images: int) -> str:
        with accelerator.autocast():
            if stage.micro_tokens:
                n_images = min(n_images, max(1, stage.micro_tokens // policy.row_tokens(making(1))[0]))
            groups = making(n_images)
            loss = -policy.logprobs(groups).sum()
        try:
            accelerator.backward(loss)
        finally:
            policy.model.zero_grad(set_to_none=True)
        return f"{n_images} x {groups.tokens.shape[1]} captions of up to {groups.tokens.shape[2]} tokens"

    sampled = ""
    if rl:
        at_once = min(rl.rollout_batch or rl.images_per_step, rl.images_per_step, n)
        policy.model.eval()
        with torch.no_grad(), accelerator.autocast():
            policy.sample(encoded(at_once), rl.captions_per_image, replace(rl.sampling.to_types(), seed=recipe.seed))
        sampled = f"{at_once} x {rl.captions_per_image} captions sampled at once; "
    policy.model.train()
    size = tried(group, min(stage.micro_batch or stage.images_per_step, n))
    if rl and rl.on_failed == "imitate":
        each = [target] * rl.imitation.captions  # nor are these
        due = min(rl.imitation.batch, stage.micro_batch or rl.imitation.batch, n)
        size += f", of failed images {tried(lambda n: policy.tokenize(encoded(n), [each] * n), due)}"
    pixels = " and ".join(f"{image.width} x {image.height}" for image in images)
    return f"heaviest step tried: {pixels} pixels ({sample.id}), {sampled}{size}; {_peak(policy.device)}"


def heaviest(
    data: Any, open_image: Callable[[Path], Image.Image], say: Callable[[str], None]
) -> tuple[Sample, list[Image.Image]]:
    """The sample with the most pixels (from the headers of the files) whose images open, and the images.

    Raises:
        DataError: none of those looked at opens.
    """
    sizes = {}
    for i in _spread(data):
        sizes[i] = -1
        with contextlib.suppress(OSError, ValueError, Image.DecompressionBombError):
            sizes[i] = sum(_pixels(path) for path in data[i].images)
    for skipped, i in enumerate(sorted(sizes, key=lambda i: -sizes[i])):
        try:
            return data[i], [open_image(path) for path in data[i].images]
        except ImageError as error:
            if skipped < 10:
                say(f"left out: {error}")
    raise DataError(f"{data[0].image.parent}: none of {len(sizes):,} images can be opened")


def _pixels(path: Path) -> int:
    with Image.open(path) as image:
        return image.width * image.height


def longest_target(data: Any, where: str) -> str:
    """The longest caption to imitate."""
    return max(("a caption", *(text for i in _spread(data) for text in targets(data[i], where))), key=len)


def _spread(data: Any) -> range:
    return range(0, len(data), max(1, len(data) // LOOKED_AT))


def _peak(device: torch.device) -> str:
    if device.type == "cuda":
        return f"peak memory {torch.cuda.max_memory_allocated(device) / 2**30:.2f} GiB on the GPU, without optimizer"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"peak memory {peak / 2**30:.2f} of {total / 2**30:.1f} GiB, without optimizer"
