"""Recipes: what a run does, as one YAML file. `schema` has every key, `files` reads, explains and writes.

Reading a recipe imports neither torch nor a model.
"""

from __future__ import annotations

from capwright.recipes.files import changed_keys, find_recipe, list_recipes, load_recipe, parse_recipe, save_recipe
from capwright.recipes.plugin_files import load_plugins
from capwright.recipes.schema import Recipe
from capwright.recipes.stages import RlStage, SftStage

__all__ = [
    "Recipe",
    "RlStage",
    "SftStage",
    "changed_keys",
    "find_recipe",
    "list_recipes",
    "load_plugins",
    "load_recipe",
    "parse_recipe",
    "save_recipe",
]
