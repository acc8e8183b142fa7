"""Training: the pure functions of caption reinforcement learning, and one trainer that reads like it.

`advantages`, `group_states` and `losses` are the formulas, `rewards` and `rollout` say what captions are worth,
`trainer` is the loop, `distributed` lets several processes take its steps together, `trl` brings the same to TRL. Names
are loaded on first use. To train from a recipe, use `capwright.train` (`capwright.runs`).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "group_states": ("States", "route"),
    "buffer": ("Buffer",),
    "rewards": ("Rewards", "make_rewards"),
    "rollout": ("TrainingSetup",),
    "schedule": ("Order", "make_order"),
    "trainer": ("Trainer",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"capwright.training.{_HOME[name]}"), name)
    raise AttributeError(f"module 'capwright.training' has no attribute '{name}'")
