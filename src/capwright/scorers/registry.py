"""Scorers by name, so that recipes and the command line can ask for them; each is imported when asked for.

Those of plugins are found in `capwright.plugins`.
"""

from __future__ import annotations

import difflib
import inspect
import types
import typing
import warnings
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

from capwright import plugins
from capwright.scorers.base import Scorer
from capwright.scorers.function_scorer import as_scorer, is_score
from capwright.types import ScorerError

#: name -> "module:object", imported on first use.
_BUILT_IN = {
    "balcap": "capwright.scorers.claims.balcap:BalCap",
    "bertscore": "capwright.scorers.embedding.bertscore:BERTScore",
    "bleu": "capwright.scorers.ngram.bleu:BLEU",
    "caparena": "capwright.scorers.preference.caparena:CapArena",
    "caprl": "capwright.scorers.questions.caprl:CapRL",
    "captionqa": "capwright.scorers.questions.captionqa:CaptionQA",
    "cccaption": "capwright.scorers.claims.cccaption:CCCaption",
    "chair": "capwright.scorers.objects.chair:CHAIR",
    "chrf": "capwright.scorers.ngram.chrf:ChrF",
    "cider": "capwright.scorers.ngram.cider:CIDEr",
    "ciderD": "capwright.scorers.ngram.cider:CIDErD",
    "claimdiff": "capwright.scorers.claims.claimdiff:ClaimDiff",
    "dcscore": "capwright.scorers.claims.dcscore:DCScore",
    "distinct": "capwright.scorers.ngram.distinct:Distinct",
    "diversity": "capwright.scorers.ngram.diversity:Diversity",
    "dnli": "capwright.scorers.claims.dnli:DNLI",
    "language": "capwright.scorers.fluency.language:Language",
    "length": "capwright.scorers.fluency.length:Length",
    "meteor": "capwright.scorers.ngram.meteor:METEOR",
    "openchair": "capwright.scorers.objects.openchair:OpenCHAIR",
    "prism": "capwright.scorers.questions.prism:Prism",
    "readability": "capwright.scorers.fluency.readability:Readability",
    "repetition": "capwright.scorers.fluency.repetition:Repetition",
    "rougeL": "capwright.scorers.ngram.rouge:ROUGEL",
    "similarity": "capwright.scorers.embedding.bertscore:Similarity",
    "spice": "capwright.scorers.objects.spice:SPICE",
    "tts": "capwright.scorers.objects.tts:TTS",
    "tts-extracted": "capwright.scorers.objects.tts_extracted:ExtractedTTS",
    "vdcscore": "capwright.scorers.questions.vdcscore:VDCScore",
}


def register_scorer(name: str, make: Callable[..., Any]) -> None:
    """Add a scorer of your own: `make(**options)` returns it, or it is a function (caption, sample) -> number.

    Raises ScorerError when the name is built in, PluginError when a plugin has taken it.
    """
    if name in _BUILT_IN:
        raise ScorerError(f"{name}: a scorer with this name exists; choose another name")
    plugins.register("scorer", name)(make)


def list_scorers() -> tuple[str, ...]:
    """Names of all scorers, sorted; also of those in plugins that were loaded, and in packages that are installed."""
    return plugins.names("scorer", _BUILT_IN)


def get_scorer(name: str, **options: Any) -> Scorer:
    """Make a scorer by name.

    Raises ScorerError when the name or an option is unknown (naming the nearest ones), or an option has a bad value:
    one that is not of the kind that the type hint of the option names, or that the scorer itself refuses.

    >>> get_scorer("tts", penalty=0.5).spec.headline
    'micro'
    """
    make = _maker(name)
    options = _present(name, make, options)
    _check_options(name, make, options)
    try:
        made = make(**options)
    except (TypeError, ValueError, OverflowError) as error:
        raise ScorerError(f"{name}: cannot be made with {options}: {error}") from error
    if not hasattr(made, "spec"):
        raise ScorerError(
            f"{name}: gives a {type(made).__name__} and no scorer; extend capwright.scorers.Scorer, or write a "
            "function (caption, sample) that gives a number"
        )
    return made


def options_of(name: str) -> tuple[str, ...]:
    """Names of the options of a scorer. Raises ScorerError when the name is unknown."""
    return tuple(inspect.signature(_maker(name)).parameters)


#: What options were called before -> what they are called.
_RENAMED = {"assistant": "judge", "picture": "image"}


def _present(name: str, make: Callable[..., Scorer], options: dict[str, Any]) -> dict[str, Any]:
    """The options under the names they have now."""
    known = inspect.signature(make).parameters
    for old, new in _RENAMED.items():
        if old in options and old not in known and new in known and new not in options:
            warnings.warn(f"{name}: the option {old} is called {new} now", FutureWarning, stacklevel=3)
            options = {new if option == old else option: value for option, value in options.items()}
    return options


def _maker(name: str) -> Callable[..., Scorer]:
    make = plugins.resolve("scorer", name, _BUILT_IN, ScorerError)
    return as_scorer(make, name.rpartition(":")[2]) if is_score(make) else make


def _check_options(name: str, make: Callable[..., Scorer], options: dict[str, Any]) -> None:
    parameters = inspect.signature(make).parameters
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    hints = _hints(make)
    for option, value in options.items():
        if option in hints and not _fits(value, hints[option]):
            raise ScorerError(f"{name}: {option} must be {_kind(hints[option])}, not {_shown(value)}")
        if option not in parameters and not takes_any:
            near = difflib.get_close_matches(option, parameters, n=1, cutoff=0.4)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            has = f"options: {', '.join(parameters)}" if parameters else "it has no options"
            raise ScorerError(f"{name}: has no option {option!r}{hint} ({has})")


_KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    types.NoneType: "null",
}


def _hints(make: Callable[..., Scorer]) -> dict[str, Any]:
    """The types of options, where they are written down and known here."""
    try:
        return typing.get_type_hints(make.__init__ if inspect.isclass(make) else make)
    except (NameError, TypeError):
        return {}


def _fits(value: object, hint: Any) -> bool:
    """Whether a value is of a type as options have it; types that are not known here take everything."""
    outer, inner = typing.get_origin(hint), typing.get_args(hint)
    if outer in (typing.Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if outer is Sequence:
        return (
            isinstance(value, Sequence)
            and not isinstance(value, (str, bytes))
            and all(_fits(v, inner[0]) for v in value)
        )
    if outer is Mapping:
        pairs = value.items() if isinstance(value, Mapping) else [(None, None)]
        return all(_fits(key, inner[0]) and _fits(each, inner[1]) for key, each in pairs)
    if hint in (int, float) and isinstance(value, bool):
        return False
    if hint is float:
        return isinstance(value, Real) and (not isinstance(value, int) or abs(value) < 2**1023)
    return isinstance(value, hint) if hint in _KINDS else True


def _kind(hint: Any) -> str:
    outer, inner = typing.get_origin(hint), typing.get_args(hint)
    if outer in (typing.Union, types.UnionType):
        return " or ".join(_kind(one) for one in inner)
    if outer in (Sequence, Mapping):
        return f"{'a list' if outer is Sequence else 'an object'} ({_kind(inner[-1])} each)"
    return _KINDS.get(hint, getattr(hint, "__name__", str(hint)))


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
