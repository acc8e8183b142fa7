"""summary.json: what was measured of every system, how systems differ, and what made the numbers."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capwright.console import counting_each
from capwright.types import Sample, Vocabulary

if TYPE_CHECKING:
    from capwright.evaluation import MeasureConfig, Scoring
    from capwright.evaluation.config import Ruler
    from capwright.recipes import Recipe

SUMMARY = "summary.json"
#: Packages whose version can change a number.
PACKAGES = ("capwright", "torch", "transformers", "tokenizers", "accelerate", "peft", "numpy", "pillow")


def config_of(recipe: Recipe, vocabulary: Vocabulary | None = None) -> MeasureConfig:
    """How a recipe measures."""
    from capwright.evaluation import MeasureConfig

    how = recipe.evaluation
    return MeasureConfig(
        how.interval, how.bootstrap, recipe.seed, scorers=how.scorers, options=how.options, vocabulary=vocabulary
    )


def measure_stages(
    recipe: Recipe,
    samples: Sequence[Sample],
    systems: Mapping[str, Mapping[str, Mapping[str, Any]]],
    rulers: Sequence[Ruler],
) -> Scoring:
    """Captions (id -> row) of the base and every stage, compared with what each went on from; see `stages_in_order`."""
    from capwright.evaluation import measure_systems
    from capwright.evaluation.compare import stages_in_order

    pairs = stages_in_order(list(systems), starts_of(recipe))
    with counting_each("measuring") as progress:
        return measure_systems(samples, systems, config_of(recipe), rulers=rulers, pairs=pairs, progress=progress)


def starts_of(recipe: Recipe) -> dict[str, str]:
    """Stages that say what they start from, with that."""
    return {stage.name: stage.start_from for stage in recipe.stages if stage.start_from}


def summarize(
    scoring: Scoring, run: Mapping[str, Any], seconds: Mapping[str, float | None] | None = None
) -> dict[str, Any]:
    """The content of summary.json: `Scoring.to_json`, with the time that systems took, and `run` and `versions`."""
    document = scoring.to_json(per_image=False)
    for name, block in document["systems"].items():
        block["seconds"] = (seconds or {}).get(name)
    return document | {"run": dict(run), "versions": versions()}


def write_json(path: Path, value: Any) -> None:
    """Write all or nothing; DataError names the path."""
    from capwright.data.files import write_bytes, writing

    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
    # A file name may hold bytes that are no text; written like this it is still JSON.
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def versions() -> dict[str, str]:
    """Of Python and of the packages that matter; those that are missing are left out."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
