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

from pydantic import Field, model_validator

from capwright.curation.base import Step
from capwright.curation.registry import find_step, make_step
from capwright.curation.runner import label_steps
from capwright.recipes.files import parse_keys, read_recipe
from capwright.recipes.parts import Config
from capwright.recipes.schema import Scenes
from capwright.types import RecipeError


class CurationData(Config):
    """What to curate: `path` or `scenes`."""

    path: str | None = Field(None, description="a dataset folder")
    scenes: Scenes | None = Field(None, description="the built-in kindergarten, drawn for the occasion")
    split: str | None = Field(None, description="this split only; null: all")

    @model_validator(mode="after")
    def _one_source(self) -> CurationData:
        if (self.path is None) == (self.scenes is None):
            raise ValueError("give either data.path (a dataset folder) or data.scenes (the built-in kindergarten)")
        return self


class CurationRecipe(Config):
    """Data, steps, and a place for the result."""

    name: str = Field(description="what it is called")
    data: CurationData = Field(description="what to curate")
    out: str = Field(description="the new dataset folder; its journal is beside it")
    seed: int = Field(0, ge=0, description="of the steps that take a seed and are given none")
    judge: Any = Field(None, description="of the steps that ask one and are given none: a name, or name and options")
    steps: list[dict[str, Any]] = Field(min_length=1, description="in order; each has a name and options of its own")

    @property
    def journal(self) -> Path:
        """Where what was decided is kept."""
        return Path(self.out).with_name(f"{Path(self.out).name}.journal.jsonl")


def load_curation(name: str | Path, overrides: Iterable[str] = ()) -> tuple[CurationRecipe, list[Step]]:
    """Read a recipe of `capwright curate`, and make its steps; no judge is asked or loaded.

    Args:
        name: a YAML file, or the bare name of one that comes along ("scenes"); `extends` as in other recipes.
        overrides: "dotted.key=value"; steps are addressed by name or number: `steps.questions.per_image=3`.

    Raises:
        RecipeError: names the file or override, the dotted key, and for unknown keys and steps the nearest one.
    """
    raw, source, changed = read_recipe(name, overrides, "curation")
    recipe = parse_keys(CurationRecipe, raw, source, changed)
    nameless = [str(number) for number, entry in enumerate(recipe.steps) if not isinstance(entry.get("name"), str)]
    if nameless:
        raise RecipeError(f"{source}: steps.{nameless[0]}: needs a name, such as name: deduplicate")
    steps = []
    for label, entry in zip(label_steps(entry["name"] for entry in recipe.steps), recipe.steps):
        options = {key: value for key, value in entry.items() if key != "name"}
        try:
            known = find_step(entry["name"]).model_fields
        except RecipeError as error:
            raise RecipeError(f"{source}: steps.{label}: {error}") from None
        for key in ("seed", "judge"):
            if key in known and getattr(recipe, key) is not None:
                options.setdefault(key, getattr(recipe, key))
        steps.append(make_step(entry["name"], options, source, changed, ("steps", label)))
    return recipe, steps
