"""Scorers by name, so that recipes and the command line can ask for them; each is imported when asked for."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable
from typing import Any

from capwright.scorers.base import Scorer, ScorerError

#: name -> "module:object", imported on first use.
_BUILT_IN = {
    "bertscore": "capwright.scorers.embedding:BERTScore",
    "bleu": "capwright.scorers.bleu:BLEU",
    "chair": "capwright.scorers.chair:CHAIR",
    "chrf": "capwright.scorers.chrf:ChrF",
    "cider": "capwright.scorers.cider:CIDEr",
    "ciderD": "capwright.scorers.cider:CIDErD",
    "distinct": "capwright.scorers.distinct:Distinct",
    "diversity": "capwright.scorers.diversity:Diversity",
    "length": "capwright.scorers.length:Length",
    "meteor": "capwright.scorers.java.meteor:METEOR",
    "readability": "capwright.scorers.readability:Readability",
    "repetition": "capwright.scorers.repetition:Repetition",
    "rougeL": "capwright.scorers.rouge:ROUGEL",
    "similarity": "capwright.scorers.embedding:Similarity",
    "spice": "capwright.scorers.java.spice:SPICE",
    "tts": "capwright.scorers.tts:TTS",
}
_ADDED: dict[str, Callable[..., Scorer]] = {}


def register_scorer(name: str, make: Callable[..., Scorer]) -> None:
    """Add a scorer of your own: `make(**options)` returns it. Raises ScorerError when the name is taken."""
    if name in _BUILT_IN or name in _ADDED:
        raise ScorerError(f"{name}: a scorer with this name exists; choose another name")
    _ADDED[name] = make


def list_scorers() -> tuple[str, ...]:
    """Names of all scorers, sorted."""
    return tuple(sorted({*_BUILT_IN, *_ADDED}))


def get_scorer(name: str, **options: Any) -> Scorer:
    """Make a scorer by name.

    Raises ScorerError when the name or an option is unknown (naming the nearest ones), or an option has a bad value.

    >>> get_scorer("tts", penalty=0.5).spec.headline
    'micro'
    """
    make = _maker(name)
    _check_options(name, make, options)
    try:
        return make(**options)
    except (TypeError, ValueError) as error:
        raise ScorerError(f"{name}: can not be made with {options}: {error}") from error


def options_of(name: str) -> tuple[str, ...]:
    """Names of the options of a scorer. Raises ScorerError when the name is unknown."""
    return tuple(inspect.signature(_maker(name)).parameters)


def _maker(name: str) -> Callable[..., Scorer]:
    if name in _ADDED:
        return _ADDED[name]
    if name not in _BUILT_IN:
        near = difflib.get_close_matches(name, list_scorers(), n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ScorerError(f"there is no scorer {name!r}{hint} (scorers: {', '.join(list_scorers())})")
    module, _, attribute = _BUILT_IN[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def _check_options(name: str, make: Callable[..., Scorer], options: dict[str, Any]) -> None:
    parameters = inspect.signature(make).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return
    for option in options:
        if option not in parameters:
            near = difflib.get_close_matches(option, parameters, n=1, cutoff=0.4)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            has = f"options: {', '.join(parameters)}" if parameters else "it has no options"
            raise ScorerError(f"{name}: has no option {option!r}{hint} ({has})")
