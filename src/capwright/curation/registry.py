"""Steps by name, so that recipes can ask for them; each is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from capwright import plugins
from capwright.curation.base import Step
from capwright.recipes.files import parse_keys
from capwright.types import CapwrightError, DataError, RecipeError

#: name -> "module:class"; whatever else a recipe names is one of a plugin, or written like that.
STEPS = {
    "caption_filter": "capwright.curation.caption_filter:CaptionFilter",
    "deduplicate": "capwright.curation.deduplicate:Deduplicate",
    "filter_questions": "capwright.curation.questions.pipeline:FilterQuestions",
    "questions": "capwright.curation.questions.pipeline:MakeQuestions",
    "sample": "capwright.curation.subset:Subset",
}


def find_step(name: str) -> type[Step]:
    """The step of a name: built in, or one of your own that a plugin registered, or `module:Class` or `file.py:Class`.

    Raises:
        DataError: there is none, or it is no `Step`.
    """
    found = plugins.resolve("step", name, STEPS, DataError)
    if not (isinstance(found, type) and issubclass(found, Step)):
        raise DataError(f'"{name}" is no step: it must be a class derived from capwright.curation.Step')
    if found.__abstractmethods__ or not hasattr(found, "name"):
        raise DataError(f'"{name}" is no step: it needs `name` and `decide`')
    return found


def make_step(
    name: str, options: Mapping[str, Any], source: str = "", overrides: Mapping[str, str] | None = None, **defaults: Any
) -> Step:
    """A step by name and options.

    Args:
        source, overrides: where the options are from, for errors; see `recipes.files.parse_keys`. By default the name.
        defaults: options that the step is given if it has them and `options` do not, unless they are None.
    Raises:
        RecipeError: the step or an option is unknown (naming the nearest one), or an option has a bad value.
    """
    try:
        step = find_step(name)
        known = {key: value for key, value in defaults.items() if key in step.model_fields and value is not None}
        return parse_keys(step, {**known, **options}, source or name, overrides)
    except RecipeError:
        raise
    except CapwrightError as error:  # there is no such step, or it refuses something itself
        raise RecipeError(f"{source or name}: {error}") from None
