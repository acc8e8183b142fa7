"""Training: the pure functions of caption reinforcement learning, and one trainer that reads like it.

`advantages`, `routing` and `losses` are the formulas; `trainer` is the loop; `run` puts it into a folder that can be
resumed. Names are loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "plan": ("Order", "StagePlan", "make_plan"),
    "routing": ("States", "route"),
    "buffer": ("Buffer",),
    "rewards": ("Rewards", "make_rewards"),
    "progress": ("LiveProgress", "PlainProgress", "Progress", "open_progress"),
    "trainer": ("Trainer",),
    "run": ("Materials", "StageResult", "Stopped", "gather", "load_recipe_policy", "open_data", "train"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"capwright.training.{_HOME[name]}"), name)
    raise AttributeError(f"module 'capwright.training' has no attribute '{name}'")
