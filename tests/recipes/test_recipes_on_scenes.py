"""The recipes for the built-in kindergarten run on the embedded captioner, a few steps each, and learn something."""

from __future__ import annotations

import json
import math

import pytest

from capwright.recipes import load_recipe
from capwright.runs import train

SHORT = ["data.scenes.n=60", "stages.warmup.steps=1", "stages.warmup.images_per_step=4"]
STAGE = ["steps=2", "images_per_step=8", "eval_every=null", "warmup_steps=0"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The scenes are drawn once."""
    return tmp_path_factory.mktemp("recipes")


@pytest.mark.parametrize("name", ["rsrs", "grpo", "dapo", "scst", "sft", "caprl", "balcaprl", "cccaption"])
def test_a_recipe_learns(name, folder, tmp_path):
    recipe = load_recipe(f"{name}-scenes", [*SHORT, *(f"stages.{name}.{change}" for change in STAGE)])
    (tmp_path / "run").mkdir()
    for scenes in folder.glob("scenes-*"):
        (tmp_path / "run" / scenes.name).symlink_to(scenes)
    results = train(recipe, out=tmp_path / "run")
    for scenes in (tmp_path / "run").glob("scenes-*"):
        if not scenes.is_symlink():
            scenes.rename(folder / scenes.name)
    assert [result.name for result in results] == ["warmup", name]
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").open()][1:]
    assert results[1].updates >= 1
    assert all(math.isfinite(row["loss"]) for row in rows if row["loss"] is not None)
    assert any(row.get("grad_norm", 0.0) > 0 for row in rows)
    looked_at = rows[-1]["images_seen"] - 4
    assert looked_at > 16 if name == "dapo" else looked_at == 16
