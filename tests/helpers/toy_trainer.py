"""Stages and trainers of a toy captioner, and what tests ask of them."""

from __future__ import annotations

import torch

from capwright.recipes import parse_recipe
from capwright.recipes.stages import RlStage, SftStage
from capwright.training.distributed import ProcessGroup, join
from capwright.training.trainer import Trainer
from toy_captioner import Values, toy_materials


def rl(**options) -> RlStage:
    base = {"name": "rl", "kind": "rsrs", "steps": 10, "images_per_step": 6, "captions_per_image": 4}
    small = {"sampling": {"max_tokens": 6}, "imitation": {"batch": 4}, "learning_rate": 0.05}
    return RlStage.model_validate(base | small | options)


def sft(**options) -> SftStage:
    base = {"name": "sft", "kind": "sft", "steps": 10, "images_per_step": 6, "target": "meta.casual"}
    return SftStage.model_validate(base | options)


RECIPE = parse_recipe({"name": "t", "data": {"path": "x"}, "stages": [{"name": "a", "kind": "sft", "steps": 1}]})


def trainer(stage, materials=None, **options) -> Trainer:
    materials = materials or toy_materials()
    return Trainer(materials, stage, 0, ProcessGroup(join(RECIPE, materials.policy)), **options)


def weights(of: Trainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in of.policy.model.state_dict().items()}


def unchanged(before: dict, of: Trainer) -> bool:
    return all(torch.equal(value, before[name]) for name, value in of.policy.model.state_dict().items())


def constant(value: float):
    return lambda samples, captions: Values([[value] * len(row) for row in captions])
