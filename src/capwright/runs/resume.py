"""Going on with a run under changed settings: which changes are refused, and which captions become stale."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from capwright.runs.callbacks import CAPTIONS, CHECKPOINTS, TIMES
from capwright.runs.changes import fixed_changes, refuse_changes

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
    from capwright.runs.checkpoint import read_about

    place = _last_state(out)
    if place is not None:
        refuse_changes(out, read_about(place), recipe, fingerprint)
    elif (out / RECIPE).exists():
        began = load_recipe(out / RECIPE).model_dump(mode="json")
        refuse_changes(out, {"recipe": began, "fingerprint": fingerprint}, recipe, fingerprint)


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
    return before.data.path != now.data.path or bool(fixed_changes(before.model_dump(mode="json"), now))


def _last_state(out: Path) -> Path | None:
    from capwright.runs.checkpoint import states

    found = states(out / CHECKPOINTS)
    return found[-1] if found else None
