"""Steps by name, so that recipes can ask for them; each is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from capwright.curation.base import Step
from capwright.data.files import nearest
from capwright.recipes.files import parse_keys
from capwright.types import CapwrightError, RecipeError

#: name -> "module:class"; whatever else a recipe names must be written like that.
STEPS = {
    "caption_filter": "capwright.curation.caption_filter:CaptionFilter",
    "deduplicate": "capwright.curation.deduplicate:Deduplicate",
    "filter_questions": "capwright.curation.questions.pipeline:FilterQuestions",
    "questions": "capwright.curation.questions.pipeline:MakeQuestions",
    "sample": "capwright.curation.subset:Subset",
}


def find_step(name: str) -> type[Step]:
    """The step of a name, or one of your own by "package.module:Class".

    Raises:
        RecipeError: there is none, or it is no `Step`.
    """
    place = STEPS.get(name, name)
    module, colon, attribute = place.partition(":")
    if not colon:
        known = f"steps: {', '.join(STEPS)}, or package.module:Class"
        raise RecipeError(f'there is no step "{name}"{nearest(name, STEPS)} ({known})')
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise RecipeError(f'the step "{name}" cannot be imported: {error}') from error
    if not (isinstance(found, type) and issubclass(found, Step)):
        raise RecipeError(f'"{name}" is no step: it must be a class derived from capwright.curation.Step')
    return found


def make_step(
    name: str,
    options: Mapping[str, Any],
    source: str = "step",
    overrides: Mapping[str, str] | None = None,
    below: tuple[str, ...] = (),
) -> Step:
    """A step by name and options.

    Args:
        source, overrides, below: where the options stand, for errors; see `recipes.files.parse_keys`.
    Raises:
        RecipeError: the step or an option is unknown (naming the nearest one), or an option has a bad value.
    """
    step = find_step(name)
    try:
        return parse_keys(step, options, source, overrides, below)
    except RecipeError:
        raise
    except CapwrightError as error:  # of a check that the step makes itself
        where = [source, ".".join(below)] if below else [source]
        raise RecipeError(f"{': '.join(where)}: {error}") from None
