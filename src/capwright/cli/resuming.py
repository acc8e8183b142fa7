"""Going on with a run under changed settings: which changes are refused, and which captions become stale."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capwright.cli.observer import CAPTIONS, CHECKPOINTS, TIMES
from capwright.types import RunError

if TYPE_CHECKING:
    from capwright.recipes import Recipe

RECIPE = "recipe.yaml"


def check_resume(recipe: Recipe, out: Path, fingerprint: str) -> None:
    """Refuse to go on with another run than `recipe` describes, before anything in the folder is touched.

    The last checkpoint says what the run was, and where there is none yet, recipe.yaml does.

    Raises:
        RunError: names every key that changed and may not, or says that the dataset has changed.
    """
    from capwright.recipes import load_recipe

    place = _last_state(out)
    if place is not None:
        about = _about(place)
        before, data = about["recipe"], about["fingerprint"]
    elif (out / RECIPE).exists():
        before, data = load_recipe(out / RECIPE).model_dump(mode="json"), fingerprint
    else:
        return
    changed = _fixed_changes(before, recipe)
    if changed:
        keys = "\n  ".join(changed)
        raise RunError(f"{out}: the recipe changed since this run began:\n  {keys}\nStart anew with --out")
    if data != fingerprint:
        raise RunError(f"{out}: the dataset has changed since this run began; start anew with --out")


def take_over(recipe: Recipe, out: Path) -> None:
    """Forget captions that were made with other settings than the recipe has now, and save the recipe.

    Captions go first: whenever this is interrupted, those that are left were made as recipe.yaml says.
    """
    from capwright.recipes import load_recipe, save_recipe

    if (out / RECIPE).exists() and _makes_other_captions(load_recipe(out / RECIPE), recipe, out):
        for path in (out / CAPTIONS).glob("*.jsonl"):
            path.unlink()
        (out / CAPTIONS / TIMES).unlink(missing_ok=True)
    draft = out / f".{RECIPE}.draft"
    save_recipe(recipe, draft)
    os.replace(draft, out / RECIPE)


def _makes_other_captions(before: Recipe, now: Recipe, out: Path) -> bool:
    if before.evaluation.sampling != now.evaluation.sampling:
        return True
    if _last_state(out) is not None:  # it says which dataset it is of; `check_resume` has compared
        return False
    return before.data.path != now.data.path or bool(_fixed_changes(before.model_dump(mode="json"), now))


def _fixed_changes(before: Mapping[str, Any], now: Recipe) -> list[str]:
    """Changes of keys that may not change while a run goes on, as "key: old -> new"."""
    from capwright.recipes import changed_keys
    from capwright.runs.run import FREE_ENDINGS, FREE_KEYS

    changed = [line for line in changed_keys(before, now.model_dump(mode="json")) if not line.startswith(FREE_KEYS)]
    return [line for line in changed if not line.partition(":")[0].endswith(FREE_ENDINGS)]


def _last_state(out: Path) -> Path | None:
    from capwright.runs.checkpoint import states

    found = states(out / CHECKPOINTS)
    return found[-1] if found else None


def _about(place: Path) -> dict[str, Any]:
    try:
        about: dict[str, Any] = json.loads((place / "state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{place}: is damaged; remove this folder to resume from the checkpoint before it") from error
    return about
