"""What `capwright curate` is given: one YAML file with data, steps and where the result goes.

name: tidy
data: {path: toys, split: train}
out: toys-tidy
seed: 0
judge: {name: "http://localhost:8000/v1", model: Qwen/Qwen2.5-VL-7B-Instruct}
steps:
  - {name: deduplicate}
  - {name: questions, per_image: 3}
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field

from capwright import plugins
from capwright.curation.base import Step
from capwright.curation.registry import make_step
from capwright.recipes.files import parse_keys, read_recipe
from capwright.recipes.parts import Config
from capwright.recipes.plugin_files import anchored
from capwright.recipes.schema import DataSource, PluginFile


class CurationData(DataSource):
    """What to curate: `path` or `scenes`."""

    split: str | None = Field(None, description="this split only; null: all")


class StepEntry(Config):
    """A step of a recipe: its name, and its options."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str = Field(description="one of `registry.STEPS` or of a plugin, module:Class, or path/to/file.py:Class")


class CurationRecipe(Config):
    """Data, steps, and a place for the result."""

    name: str = Field(description="what it is called")
    data: CurationData = Field(description="what to curate")
    out: str = Field(description="the new dataset folder; its journal is beside it")
    seed: int = Field(0, ge=0, description="of the steps that take a seed and are given none")
    judge: Any = Field(None, description="of the steps that ask one and are given none: a name, or name and options")
    steps: list[StepEntry] = Field(min_length=1, description="in order")
    plugins: list[PluginFile] = Field(default_factory=list, description="files of your own that names come from")

    @property
    def journal(self) -> Path:
        """Where what was decided is kept."""
        return Path(self.out).with_name(f"{Path(self.out).name}.journal.jsonl")


def load_curation(name: str | Path, overrides: Iterable[str] = ()) -> tuple[CurationRecipe, list[Step]]:
    """Read a recipe of `capwright curate`, execute its plugins, and make its steps; no judge is asked or loaded.

    Args:
        name: a YAML file, or the bare name of one that comes along ("scenes"); `extends` as in other recipes.
        overrides: "dotted.key=value"; steps are addressed by name or number: `steps.questions.per_image=3`.

    Raises:
        RecipeError: names the file or override, the dotted key, and for unknown keys and steps the nearest one.
        PluginError: a plugin cannot be loaded, or is not the one of the digest that the recipe has.
    """
    raw, source, changed = read_recipe(name, overrides, "curation")
    recipe = parse_keys(CurationRecipe, anchored(raw, Path.cwd()), source, changed)
    for one in recipe.plugins:
        plugins.load(one.path, one.sha256)
    steps = []
    for entry in recipe.steps:
        own = {key.removeprefix(f"steps.{entry.name}."): text for key, text in changed.items()}
        options, place = entry.model_extra or {}, f"{source}: steps.{entry.name}"
        steps.append(make_step(entry.name, options, place, own, seed=recipe.seed, judge=recipe.judge))
    return recipe, steps
