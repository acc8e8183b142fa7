"""Scorers by name, so that recipes and the command line can ask for them.

Those that come with capwright are found in their modules: the classes that say in a `spec` what they are. Others come
from `capwright.plugins`. A function of (caption, sample) is a scorer, too.
"""

from __future__ import annotations

import pkgutil
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from capwright import plugins
from capwright.scorers.base import Scorer, ScorerSpec
from capwright.scorers.function_scorer import FunctionScorer, as_scorer
from capwright.scorers.options import check_options, measures_captions, parameters_of, present_options, wrong_options
from capwright.types import ScorerError

#: What makes a scorer: its class, a function that returns one, or what `as_scorer` made of a function.
Maker = Callable[..., Scorer] | FunctionScorer


def register_scorer(name: str, make: Callable[..., Any] | FunctionScorer) -> None:
    """Add a scorer of your own.

    Args:
        name: what it is asked for by.
        make: a class, a function that returns a scorer (`make(**options)`), a function of (caption, sample), or what
            `as_scorer` made of one.

    Raises ScorerError when the name is built in, PluginError when another scorer has taken it.
    """
    if _find_built_in(name):
        raise ScorerError(f"{name}: a scorer with this name exists; choose another name")
    as_maker(make, name)  # what is no scorer is refused here
    plugins.register("scorer", name)(make)


def list_scorers() -> tuple[str, ...]:
    """Names of all scorers, sorted; also of those in plugins that were loaded, and in packages that are installed."""
    return plugins.names("scorer", built_in_scorers())


def get_scorer(scorer: str | Callable[..., Any] | FunctionScorer, **options: Any) -> Scorer:
    """Make a scorer: by its name, of its class, or of a function of (caption, sample).

    Raises ScorerError when the name or an option is unknown (naming the nearest ones), or an option has a bad value:
    one that is not of its type, or that the scorer itself refuses.

    >>> get_scorer("tts", penalty=0.5).spec.headline
    'micro'
    """
    make = find_scorer(scorer) if isinstance(scorer, str) else as_maker(scorer)
    name = scorer if isinstance(scorer, str) else str(getattr(make, "__name__", scorer))
    present = present_options(_optioned(make), options)
    for old, new in zip(options, present):
        if old != new:
            warnings.warn(f"{name}: the option {old} is called {new} now", FutureWarning, stacklevel=2)
    if isinstance(make, FunctionScorer):
        return make.with_options(**present)
    try:
        made = make(**(present if isinstance(make, type) else check_options(name, make, present)))
    except (TypeError, ValueError, OverflowError) as error:
        raise ScorerError(f"{name}: cannot be made with {options}: {error}") from error
    if not hasattr(made, "spec"):
        raise ScorerError(
            f"{name}: makes {type(made).__name__}, which is no scorer; extend capwright.scorers.Scorer, or write a "
            "function of (caption, sample)"
        )
    return made


def options_of(name: str) -> tuple[str, ...]:
    """Names of the options of a scorer. Raises ScorerError when the name is unknown."""
    return tuple(parameters_of(_optioned(find_scorer(name))))


def option_problems(name: str, options: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with options of a scorer, without making it: option -> "must be ..., not ...".

    Raises ScorerError when the name is unknown.
    """
    return wrong_options(_optioned(find_scorer(name)), options)


def find_scorer(name: str) -> Maker:
    """What makes the scorer of this name. Raises ScorerError when there is none, naming the nearest."""
    built_in = _find_built_in(name)
    made = plugins.resolve("scorer", name, {name: built_in} if built_in else built_in_scorers(), ScorerError)
    return as_maker(made, None if ":" in name else name)


def is_loaded(name: str) -> bool:
    """Whether a scorer is built in or was registered, so that asking for it executes no code of others."""
    return name in plugins.registered("scorer") or _find_built_in(name) is not None


def as_maker(make: Callable[..., Any] | FunctionScorer, name: str | None = None) -> Maker:
    """What makes a scorer of a class or function; a function of (caption, sample) becomes a scorer of this name."""
    if isinstance(make, FunctionScorer):
        return make
    if not callable(make):
        raise ScorerError(f"{name or make!r} is no scorer: give a class, or a function of (caption, sample)")
    return as_scorer(make, name) if measures_captions(make) else make


def built_in_scorers() -> dict[str, type[Scorer]]:
    """The scorers that come with capwright, by name, a family after the other. No model or program is loaded."""
    return {name: one for module in _modules() for name, one in _scorers_of(module).items()}


def scorer_specs() -> dict[str, ScorerSpec]:
    """What all scorers are, by name, as far as it is known without making them."""
    known = {**built_in_scorers(), **{name: as_maker(one, name) for name, one in plugins.registered("scorer").items()}}
    specs = {name: getattr(make, "spec", None) for name, make in known.items()}
    return {name: spec for name, spec in specs.items() if isinstance(spec, ScorerSpec)}


@cache
def _modules() -> tuple[str, ...]:
    """Where scorers are: the modules of the families."""
    found = [module.name for module in pkgutil.walk_packages([str(Path(__file__).parent)], "capwright.scorers.")]
    return tuple(name for name in found if name.count(".") > 2 and "._" not in name)


@cache
def _scorers_of(module: str) -> dict[str, type[Scorer]]:
    found = [one for one in vars(import_module(module)).values() if isinstance(one, type) and issubclass(one, Scorer)]
    own = [one for one in found if one.__module__ == module and isinstance(vars(one).get("spec"), ScorerSpec)]
    return {one.spec.name: one for one in own}


def _find_built_in(name: str) -> type[Scorer] | None:
    """Most scorers stand in a module of their name: then no other one is imported."""
    module = name.lower().replace("-", "_")
    likely = [place for place in _modules() if module.startswith(place.rpartition(".")[2])]
    for place in [*likely, *(() if ":" in name else _modules())]:
        if name in _scorers_of(place):
            return _scorers_of(place)[name]
    return None


def _optioned(make: Maker) -> Callable[..., Any]:
    return make.function if isinstance(make, FunctionScorer) else make
