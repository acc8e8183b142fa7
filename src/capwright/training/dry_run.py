"""Before a long run: say what it will do, and try its heaviest step."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from capwright.training.plan import make_plan
from capwright.training.progress import Progress
from capwright.training.recipe import Recipe, SftStage
from capwright.training.run import OUT_OF_MEMORY, gather, open_accelerator, open_data
from capwright.training.trainer import Materials, targets
from capwright.types import DataError, Request, Sample

#: So many images are looked at for the largest one; on bigger datasets they are spread evenly.
LOOKED_AT = 2000


def rehearse(recipe: Recipe, out: Path, progress: Progress, materials: Materials | None = None) -> None:
    """Print the plan; then, when weights and data are here, one forward and backward pass of the heaviest sample."""
    missing = ""
    if materials is None:
        n: int | None = None
        try:
            n = len(open_data(recipe, out).split(recipe.data.train_split))
            if weights_present(recipe.model.name):
                materials = gather(recipe, out)
            else:
                missing = f"the weights of {recipe.model.name} are not on this machine"
        except DataError as error:
            missing = str(error)
    else:
        n = len(materials.data)
    progress.say(f"recipe {recipe.name}: {'unknown number of' if n is None else f'{n:,}'} images to learn from")
    for plan in make_plan(recipe, n):
        progress.say(plan.line())
    if materials is None:
        progress.say(f"memory not measured: {missing}")
        return
    for stage in recipe.stages:
        try:
            progress.say(f"{stage.name}: {heaviest_step(recipe, stage, materials)}")
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


def heaviest_step(recipe: Recipe, stage: Any, materials: Materials) -> str:
    """One micro-batch of the largest image with captions of the greatest length, forward and backward, no update."""
    policy = materials.policy
    where = stage.target if isinstance(stage, SftStage) else stage.imitation.target
    sample, text = heaviest(materials.data, where)
    accelerator = open_accelerator(recipe, policy)
    images = min(stage.micro_batch or stage.images_per_step, len(materials.data))
    picture = materials.open_image(sample.image)
    if policy.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(policy.device)
    policy.model.train()
    with accelerator.autocast():
        prefixes = policy.encode([Request(sample)] * images, [picture] * images)
        limit = None if isinstance(stage, SftStage) else stage.sampling.max_tokens
        texts = [[" ".join([text] * (limit or 1))] * stage.captions_per_image] * images
        groups = policy.tokenize(prefixes, texts, limit)
        loss = -policy.logprobs(groups).sum()
    try:
        accelerator.backward(loss)
    finally:
        policy.model.zero_grad(set_to_none=True)
    size = f"{images} x {stage.captions_per_image} captions of {groups.tokens.shape[-1]} tokens"
    return (
        f"heaviest step tried: {picture.width} x {picture.height} pixels ({sample.id}), {size}; {_peak(policy.device)}"
    )


def heaviest(data: Any, where: str) -> tuple[Sample, str]:
    """The sample with the most pixels (from the headers of the files), and the longest caption to imitate."""
    largest, pixels, longest = data[0], -1, "a caption"
    for i in range(0, len(data), max(1, len(data) // LOOKED_AT)):
        sample = data[i]
        longest = max([longest, *targets(sample, where)], key=len)
        with contextlib.suppress(OSError, ValueError, Image.DecompressionBombError), Image.open(sample.image) as image:
            if image.width * image.height > pixels:
                largest, pixels = sample, image.width * image.height
    return largest, longest


def _peak(device: torch.device) -> str:
    if device.type == "cuda":
        return f"peak memory {torch.cuda.max_memory_allocated(device) / 2**30:.2f} GiB on the GPU, without optimizer"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"peak memory {peak / 2**30:.2f} of {total / 2**30:.1f} GiB, without optimizer"
