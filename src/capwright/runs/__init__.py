"""Runs: a recipe carried out in a folder that can be looked into, interrupted and resumed at any moment.

`setup` fetches what a run needs, `train_loop` goes through the stages, `checkpoint` and `metrics_log` keep what
happened, `dry_run` tries it beforehand, and `judge_costs` counts what it would ask. Names are loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "setup": ("build_training_setup", "load_recipe_policy", "open_data"),
    "plan": ("StagePlan", "make_plan"),
    "progress": ("LiveProgress", "PlainProgress", "Progress", "open_progress"),
    "train_loop": ("StageResult", "Stopped", "train"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"capwright.runs.{_HOME[name]}"), name)
    raise AttributeError(f"module 'capwright.runs' has no attribute '{name}'")
