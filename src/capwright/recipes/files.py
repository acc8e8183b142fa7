"""Recipes in and out: find, read, extend, override, explain what is wrong, write."""

from __future__ import annotations

import difflib
import types as python_types
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from capwright.console import shown
from capwright.recipes.plugin_files import anchored, pinned
from capwright.recipes.rewards import NamedScorer, scorer_problems
from capwright.recipes.schema import Recipe
from capwright.recipes.stages import RlStage, SftStage
from capwright.types import EMPTY, PluginError, RecipeError
from capwright.yaml_text import load_yaml

S = TypeVar("S", bound=BaseModel)

_HERE = Path(__file__).resolve().parent
#: In an installed package the YAML files lie here, in a checkout at its top.
_FOLDERS = (_HERE, _HERE.parents[2] / "recipes")
#: Keys of which only one can be given: an override of one takes the other away.
_RIVALS = {"path": "scenes", "scenes": "path", "steps": "epochs", "epochs": "steps"}


def list_recipes(kind: str = "") -> dict[str, Path]:
    """The recipes that come with capwright, by bare name; `kind`: those in the folder called so ("curation")."""
    found: dict[str, Path] = {}
    for folder in _FOLDERS:
        for path in sorted((folder / kind).glob("*.yaml")):
            found.setdefault(path.stem, path)
    return found


def find_recipe(name: str | Path, kind: str = "") -> Path:
    """Where a recipe is: a file, or the bare name of one that comes with capwright ("rsrs-scenes").

    Raises:
        RecipeError: there is none; the message lists the names there are.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    known = list_recipes(kind)
    stem = path.name.removesuffix(".yaml")
    if stem in known and str(path) in (stem, f"{stem}.yaml"):
        return known[stem]
    raise not_found("recipe", name, stem, known)


def not_found(what: str, name: str | Path, stem: str, known: Iterable[str]) -> RecipeError:
    """There is no recipe (or benchmark) of that name: says the nearest to `stem`, and those there are."""
    near = difflib.get_close_matches(stem, known := list(known), n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    there = ", ".join(known) or "none"
    return RecipeError(f"{what} '{name}': no such file or name.{hint} {what.capitalize()}s that come along: {there}")


def load_recipe(name: str | Path, overrides: Iterable[str] = (), plugins: Iterable[str | Path] = ()) -> Recipe:
    """Read a recipe and apply overrides.

    Args:
        name: a YAML file or a bare name, see `find_recipe`. `extends: other` in a file starts from another recipe; a
            dotted key at its top level (`stages.rsrs.steps: 10`) changes one value of it, and in its list of stages a
            bare name stands for a stage of that recipe.
        overrides: "dotted.key=value" strings; the value is YAML. Stages are addressed by name or number:
            `stages.rsrs.steps=10`, `model.lora.r=8`, `model.lora=null`.
        plugins: files that the recipe needs besides those it names, as they are now. None is executed here.

    Raises:
        RecipeError: names the file or override, the full dotted key, and for unknown keys the nearest one.
    """
    raw, source, changed = read_recipe(name, overrides)
    if more := [str(file) for file in plugins]:
        raw["plugins"] = [*(raw.get("plugins") or []), *more]
    return parse_recipe(raw, source, changed)


def read_recipe(
    name: str | Path, overrides: Iterable[str] = (), kind: str = ""
) -> tuple[dict[str, Any], str, dict[str, str]]:
    """The plain data of a recipe under overrides, not checked yet; where it is from, and the override of each key.

    Args and errors are those of `load_recipe` and `list_recipes`.
    """
    path = find_recipe(name, kind)
    raw = read_yaml(path, (), kind)
    changed: dict[str, str] = {}
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise RecipeError(f"override '{text}': write it as key=value, for example stages.rsrs.steps=10")
        try:
            parsed = load_yaml(value) if value.strip() else None
        except yaml.YAMLError as error:
            raise RecipeError(f"override '{text}': the value is not YAML ({' '.join(str(error).split())})") from None
        _put(raw, key.strip(), parsed, f"override '{text}'")
        changed[key.strip()] = text
    return raw, str(path), changed


def parse_recipe(raw: Mapping[str, Any], source: str = "recipe", overrides: Mapping[str, str] | None = None) -> Recipe:
    """Check plain data (as read from YAML) and make a `Recipe` of it; relative data paths become absolute.

    So do files of plugins, which get their digest; none is executed.

    Raises:
        RecipeError: one line a problem, each naming the source and the dotted key; also for scorers that do not exist,
            and for options that they do not have or that are of another type; or a plugin that cannot be read.
    """
    raw, overrides = anchored(raw, Path.cwd()), overrides or {}
    has_plugins = bool(raw.get("plugins"))
    recipe = parse_keys(Recipe, raw, source, overrides, {"plugins": has_plugins})
    try:
        recipe = recipe.model_copy(update={"plugins": pinned(recipe)})
    except PluginError as error:
        raise RecipeError(f"{source}: plugins: {error}") from error
    check_scorers(recipe.named_scorers, source, overrides, has_plugins)
    if recipe.data.path is None:
        return recipe
    absolute = str(Path(recipe.data.path).expanduser().absolute())
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"path": absolute})})


def check_scorers(
    scorers: Iterable[NamedScorer], source: str, overrides: Mapping[str, str] = EMPTY, has_plugins: bool = False
) -> None:
    """Raise RecipeError for scorers that do not exist and wrong options; see `rewards.scorer_problems`."""
    problems = scorer_problems(scorers, has_plugins)
    if lines := [f"{_said_in(key, source, overrides)}: {key}: {problem}" for key, problem in problems]:
        raise RecipeError("\n".join(lines))


def parse_keys(
    schema: type[S],
    raw: Mapping[str, Any],
    source: str,
    overrides: Mapping[str, str] | None = None,
    context: Mapping[str, Any] | None = None,
) -> S:
    """Check plain data by a schema, whose checks may ask for the context; errors as in `parse_recipe`."""
    try:
        return schema.model_validate(dict(raw), context=None if context is None else dict(context))
    except ValidationError as error:
        lines = [_explain(problem, raw, source, overrides or {}, schema) for problem in error.errors()]
        raise RecipeError("\n".join(dict.fromkeys(lines))) from None


def save_recipe(recipe: Recipe, path: Path) -> None:
    """Write every key, also those left at their default, so that the file says all of the run."""
    text = yaml.safe_dump(recipe.model_dump(), sort_keys=False, allow_unicode=True, width=120)
    path.write_text("# What this run did, every key spelled out.\n" + text, encoding="utf-8")


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """A dumped recipe as {dotted key: value}; stages are named rather than numbered."""
    if isinstance(value, BaseModel):
        value = value.model_dump()
    if isinstance(value, Mapping):
        items: Iterator[tuple[Any, Any]] = iter(value.items())
    elif prefix == "stages." and isinstance(value, list):
        items = ((stage["name"], stage) for stage in value)
    else:
        return {prefix[:-1]: value}
    return {k: v for key, inner in items for k, v in flatten(inner, f"{prefix}{key}.").items()}


def changed_keys(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The dotted keys in which two dumped recipes differ, as "key: old -> new"."""
    old, new = flatten(before), flatten(after)
    return [
        f"{key}: {old.get(key)} -> {new.get(key)}"
        for key in dict.fromkeys([*old, *new])
        if old.get(key) != new.get(key)
    ]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models a field can hold, seen through lists, dicts, unions and annotations."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in typing.get_args(annotation) for model in _models_in(inner)]


def read_yaml(path: Path, seen: tuple[Path, ...] = (), kind: str = "") -> dict[str, Any]:
    """The plain data of a file, with what it extends underneath."""
    if path.resolve() in seen:
        raise RecipeError(f"{path}: extends itself, through {', '.join(p.name for p in seen)}")
    try:
        raw = load_yaml(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read ({error})") from None
    except yaml.YAMLError as error:
        raise RecipeError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from None
    if not isinstance(raw, dict):
        raise RecipeError(f"{path}: a recipe is a YAML mapping that starts with 'name:'")
    raw = anchored(raw, path.absolute().parent)
    base_name = raw.pop("extends", None)
    merged: dict[str, Any] = {}
    if base_name is not None:
        beside = path.parent / str(base_name)
        try:
            base = beside if beside.is_file() else find_recipe(str(base_name), kind)
        except (RecipeError, OSError, ValueError) as error:
            raise RecipeError(f"{path}: extends: {error}") from None
        merged = read_yaml(base, (*seen, path.resolve()), kind)
    for key, value in sorted(raw.items(), key=lambda item: "." in str(item[0])):  # a list of stages before its changes
        if "." in str(key):
            _put(merged, key, value, f"{path}: {key}")
        elif isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = {**merged[key], **value}
        elif key == "stages" and isinstance(value, list):
            merged[key] = _stages(value, merged.get(key), str(path))
        elif key == "plugins" and isinstance(value, list):
            merged[key] = [*merged.get(key, []), *value]
        else:
            merged[key] = value
    return merged


def _stages(wanted: list[Any], known: Any, source: str) -> list[Any]:
    """A list of stages; a bare name in it stands for the stage of that name that was there before."""
    found = {str(one.get("name")): one for one in known or () if isinstance(one, dict)}
    for name in wanted:
        if isinstance(name, str) and name not in found:
            there = f"there are {', '.join(found)}" if found else "it extends no recipe that has stages"
            raise RecipeError(f"{source}: stages: no stage '{name}' to take over; {there}")
    return [dict(found[one]) if isinstance(one, str) else one for one in wanted]


def _put(raw: dict[str, Any], dotted: str, value: Any, source: str) -> None:
    """Set one value by its dotted key; unknown keys are set too and reported by the check afterwards."""
    keys = dotted.split(".")
    here: Any = raw
    for position, key in enumerate(keys):
        last = position == len(keys) - 1
        if isinstance(here, list):
            names = [str(item.get("name")) if isinstance(item, dict) else "" for item in here]
            if key in names:
                index = names.index(key)
            elif key.isdigit() and int(key) < len(here):
                index = int(key)
            else:
                near = difflib.get_close_matches(key, names, n=1)
                hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(names)}."
                raise RecipeError(f"{source}: no '{key}' in {'.'.join(keys[:position])}; {hint}")
            if last:
                here[index] = value
                return
            here = here[index]
        elif isinstance(here, dict):
            if keys[0] in ("data", "stages") and key in _RIVALS:
                here.pop(_RIVALS[key], None)
            if last:
                here[key] = value
                return
            if here.get(key) is None:
                here[key] = {}
            here = here[key]
        else:
            raise RecipeError(f"{source}: '{'.'.join(keys[:position])}' is a value, it has no keys")


def _explain(
    problem: Any, raw: Mapping[str, Any], source: str, overrides: Mapping[str, str], schema: type[BaseModel]
) -> str:
    """One line for one problem that pydantic found."""
    dotted, siblings, given = _locate(problem["loc"], raw, schema)
    path = ".".join(dotted)
    spread = problem["type"] in ("value_error", "missing")  # may come of any key below, so of none in particular
    where = _said_in(path, source, overrides, spread)
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(dotted[-1], siblings, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(siblings)}."
        return f"{where}: {path}: unknown key; {hint}"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] not in ("value_error", "missing", "union_tag_not_found"):
        message = f"{message} (got {shown(given)})"
    return f"{where}: {path}: {message}" if path else f"{where}: {message}"


def _said_in(path: str, source: str, overrides: Mapping[str, str], spread: bool = True) -> str:
    """The override that a key comes from, or else the file; with `spread` one of a key below it does not count."""
    known = (
        key for key in overrides if f"{path}.".startswith(f"{key}.") or (key.startswith(f"{path}.") and not spread)
    )
    text = overrides.get(next(known, "")) if path else None
    return f"override '{text}'" if text else source


def _locate(loc: tuple[Any, ...], raw: Any, schema: type[BaseModel]) -> tuple[list[str], list[str], Any]:
    """Follow a place in an error through the models: dotted key (stages by name), keys known there, value given."""
    spot: Any = schema
    dotted: list[str] = []
    siblings: list[str] = []
    for key in loc:
        while typing.get_origin(spot) is typing.Annotated:
            spot = typing.get_args(spot)[0]
        origin = typing.get_origin(spot)
        models = _models_in(spot)
        if origin in (typing.Union, python_types.UnionType) and len(models) > 1:
            spot = SftStage if key == "sft" else RlStage  # the tag of the stage's kind: not a key of the file
            continue
        if origin in (typing.Union, python_types.UnionType) and models:
            spot, origin = models[0], None
        if origin is list and isinstance(raw, list) and isinstance(key, int) and key < len(raw):
            spot, raw = typing.get_args(spot)[0], raw[key]
            dotted.append(str(raw["name"]) if isinstance(raw, dict) and "name" in raw else str(key))
        elif origin is dict:
            spot, raw = typing.get_args(spot)[1], raw.get(key) if isinstance(raw, dict) else None
            dotted.append(str(key))
        elif isinstance(spot, type) and issubclass(spot, BaseModel):
            siblings = list(spot.model_fields)
            spot = spot.model_fields[key].annotation if key in spot.model_fields else Any
            raw = raw.get(key) if isinstance(raw, dict) else None
            dotted.append(str(key))
        else:
            break
    return dotted, siblings, raw
