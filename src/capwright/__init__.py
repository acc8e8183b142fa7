"""capwright: train, run and measure image captioners that must name things right.

    import capwright

    dataset = capwright.open_dataset("kindergarten", split="test")
    policy = capwright.load_policy("embedded")

Names are loaded on first use: importing the package imports neither torch nor numpy.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

from capwright.types import (
    Caption,
    CapwrightError,
    DataError,
    ImageError,
    ModelError,
    Question,
    RecipeError,
    Region,
    Request,
    RunError,
    Sample,
    SamplingParams,
    Term,
    Vocabulary,
)

if TYPE_CHECKING:
    from capwright.captioning import Captioner, load_captioner
    from capwright.data import (
        Dataset,
        check_dataset,
        load_image,
        open_dataset,
        read_captions,
        read_predictions,
        read_references,
        read_vocabulary,
        write_dataset,
    )
    from capwright.evaluation import compare, evaluate, score, score_systems
    from capwright.models import HFPolicy, load_policy
    from capwright.recipes import Recipe, list_recipes, load_recipe
    from capwright.report import write_report
    from capwright.runs import train
    from capwright.scorers import RewardView, Scorer, get_scorer, list_scorers, register_scorer

__version__ = "0.1.0"

_HOMES = {
    "data": (
        "Dataset",
        "check_dataset",
        "load_image",
        "open_dataset",
        "read_captions",
        "read_predictions",
        "read_references",
        "read_vocabulary",
        "write_dataset",
    ),
    "captioning": ("Captioner", "load_captioner"),
    "models": ("HFPolicy", "load_policy"),
    "scorers": ("RewardView", "Scorer", "get_scorer", "list_scorers", "register_scorer"),
    "evaluation": ("compare", "evaluate", "score", "score_systems"),
    "report": ("write_report",),
    "recipes": ("Recipe", "list_recipes", "load_recipe"),
    "runs": ("train",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Caption",
    "Captioner",
    "CapwrightError",
    "DataError",
    "Dataset",
    "HFPolicy",
    "ImageError",
    "ModelError",
    "Question",
    "Recipe",
    "RecipeError",
    "Region",
    "Request",
    "RewardView",
    "RunError",
    "Sample",
    "SamplingParams",
    "Scorer",
    "Term",
    "Vocabulary",
    "check_dataset",
    "compare",
    "evaluate",
    "get_scorer",
    "list_recipes",
    "list_scorers",
    "load_captioner",
    "load_image",
    "load_policy",
    "load_recipe",
    "open_dataset",
    "read_captions",
    "read_predictions",
    "read_references",
    "read_vocabulary",
    "register_scorer",
    "score",
    "score_systems",
    "train",
    "write_dataset",
    "write_report",
]


#: Names that others took the place of.
_RENAMED = {"Sampling": "SamplingParams"}


def __getattr__(name: str) -> Any:
    if name in _RENAMED:
        warnings.warn(f"capwright.{name} is called {_RENAMED[name]} now", FutureWarning, stacklevel=2)
        return globals()[_RENAMED[name]]
    if name in _HOME:
        return getattr(import_module(f"capwright.{_HOME[name]}"), name)
    raise AttributeError(f"module 'capwright' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
