"""Options of a scorer: the keyword parameters that it is made with, checked by their type hints.

    @dataclass(eq=False)
    class CIDErD(Scorer[CIDErContext]):
        n: Annotated[int, Field(ge=1, le=100)] = 4

Types are strict: "3" is not 3, and 1 is not true. The same check is made when a scorer is made, when a recipe is read,
and on the command line: which option is wrong, what it must be, and what it is.
"""

from __future__ import annotations

import difflib
import inspect
import json
import types
import typing
from abc import ABCMeta
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, PydanticUserError, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from capwright.console import shown
from capwright.types import ScorerError

Positive = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
#: What a wrong name costs in a reward.
Penalty = Annotated[float, Field(ge=0)]
Seconds = Annotated[float, Field(gt=0, lt=1e9, description="seconds above 0")]


def _with_name(judge: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(judge.get("name"), str):
        raise AssertionError("the judge has no name")
    return judge


#: A judge as `judges.load.load_judge` takes it: a name, or a mapping with a name and options.
NamedJudge = Annotated[str, Field(pattern=r"\S")] | Annotated[Mapping[str, Any], AfterValidator(_with_name)]
JUDGE = (
    'a name such as "lexical", an object with a name such as '
    '{{"name": "http://localhost:8000/v1", "model": "..."}}, or a {}'
)

#: What options were called before -> what they are called.
RENAMED = {"assistant": "judge", "picture": "image"}

_STRICT = ConfigDict(strict=True, arbitrary_types_allowed=True, allow_inf_nan=False)
_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}
_KINDS |= {types.NoneType: "null", Any: "any value"}
_BOUNDS = {"ge": ", {} or more", "gt": " above {}", "le": ", {} or less", "lt": " below {}"}


@dataclass(frozen=True)
class Parameter:
    """One option: its type hint, and whether it must be given."""

    hint: Any
    required: bool

    def check(self, value: Any) -> Any:
        """The value as its type has it. Raises ValueError saying what it must be."""
        try:
            return self._adapter.validate_python(value)
        except ValidationError as error:
            own = [problem["ctx"]["error"] for problem in error.errors() if problem["type"] == "value_error"]
            text = str(own[0]) if own else f"must be {describe(self.hint)}"
            hint = _nearest(value, _words(self.hint)) if isinstance(value, str) else ""
            raise ValueError(f"{text}, not {shown(value, 60)}{hint}") from None

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        try:
            return TypeAdapter(self.hint, config=_STRICT)
        except PydanticUserError:  # a type with settings of its own, or one that pydantic does not know
            return TypeAdapter(Any)


class CheckedOptions(ABCMeta):
    """Checks the options that an object of a class is made with. Raises ScorerError for those that are wrong."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        names = list(parameters_of(cls))[: len(args)]
        name = getattr(getattr(cls, "spec", None), "name", cls.__name__)
        options = check_options(name, cls, dict(zip(names, args)) | kwargs)
        return super().__call__(*(options.pop(name) for name in names), *args[len(names) :], **options)

    @property
    def __signature__(cls) -> inspect.Signature:
        made = cls.__init__  # type: ignore[misc]
        taken = [] if made is object.__init__ else list(inspect.signature(made).parameters.values())[1:]
        return inspect.Signature(taken)


def check_options(name: str, make: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The options as their types have them. Raises ScorerError, a line for each one that is wrong."""
    checked, problems = _check(make, given)
    if problems:
        raise ScorerError("\n".join(f"{name}.{option}: {problem}" for option, problem in problems.items()))
    return checked


def wrong_options(make: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with options by their names, without making anything: option -> "must be ..., not ..."."""
    return _check(make, present_options(make, given))[1]


def present_options(make: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The options under the names that they have now."""
    known = parameters_of(make)

    def name_of(option: str) -> str:
        new = RENAMED.get(option, option)
        return new if option not in known and new in known and new not in given else option

    return {name_of(option): value for option, value in given.items()}


@lru_cache(maxsize=1024)
def parameters_of(make: Callable[..., Any]) -> dict[str, Parameter]:
    """The options of a class, of a function that makes a scorer, or of one that is a scorer itself, in their order."""
    hints: dict[str, Any] = {}
    for source in [make, make.__init__] if isinstance(make, type) else [make]:  # type: ignore[misc]
        with suppress(NameError, TypeError):  # a hint that cannot be read takes everything
            hints |= typing.get_type_hints(source, include_extras=True)
    own = inspect.signature(make).parameters.values()
    named = [p for p in own if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    skipped = 2 if measures_captions(make) else 0
    return {p.name: Parameter(hints.get(p.name, Any), p.default is p.empty) for p in named[skipped:]}


def measures_captions(make: Callable[..., Any]) -> bool:
    """Whether this is a function of (caption, sample), a scorer by itself: its first two arguments must be given."""
    first = [*inspect.signature(make).parameters.values()][:2]
    given = [p for p in first if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return not isinstance(make, type) and len(given) == 2


def describe(hint: Any) -> str:
    """A type in words: "a whole number from 1 to 100", "text or null"."""
    outer, inner = typing.get_origin(hint), typing.get_args(hint)
    if outer is Annotated:
        said = [note.description for note in inner[1:] if isinstance(note, FieldInfo) and note.description]
        return said[-1] if said else describe(inner[0]) + _bounds(inner[1:])
    if outer in (typing.Union, types.UnionType):
        return " or ".join(map(describe, inner))
    if outer is Literal:
        words = [json.dumps(word, ensure_ascii=False) for word in inner]
        return " or ".join(words) if len(words) < 3 else f"one of {', '.join(words)}"
    if outer in (Sequence, Mapping):
        return f"{'a list' if outer is Sequence else 'an object'} ({describe(inner[-1])} each)"
    return _KINDS.get(hint, getattr(hint, "__name__", str(hint)))


def _check(make: Callable[..., Any], given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The options that are right, and what is wrong with the others."""
    known = parameters_of(make)
    takes_any = any(p.kind is p.VAR_KEYWORD for p in inspect.signature(make).parameters.values())
    checked, problems = {}, {}
    for option, value in given.items():
        try:
            checked[option] = known[option].check(value) if option in known else value
        except ValueError as error:
            problems[option] = str(error)
        if option not in known and not takes_any:
            hint = _nearest(option, known) or "."
            problems[option] = f"unknown option{hint} It has: {', '.join(known) or 'none'}"
    for option, parameter in known.items():
        if parameter.required and option not in given:
            problems[option] = f"must be given: {describe(parameter.hint)}"
            if inspect.isfunction(make) and not measures_captions(make):
                problems[option] += " (a function that scores takes a caption and a sample)"
    return checked, problems


def _words(hint: Any) -> list[str]:
    """The words that a type consists of."""
    inner = typing.get_args(hint)
    if typing.get_origin(hint) is Literal:
        return [word for word in inner if isinstance(word, str)]
    return [word for one in inner for word in _words(one)]


def _nearest(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f'; did you mean "{near[0]}"?' if near else ""


def _bounds(notes: Sequence[Any]) -> str:
    """ ", 1 or more", " from 1 to 100"."""
    limits = [limit for note in notes for limit in getattr(note, "metadata", ())]
    at = {key: getattr(limit, key) for limit in limits for key in _BOUNDS if hasattr(limit, key)}
    if {"ge", "le"} <= at.keys():
        return f" from {at['ge']} to {at['le']}"
    return "".join(_BOUNDS[key].format(value) for key, value in at.items())
