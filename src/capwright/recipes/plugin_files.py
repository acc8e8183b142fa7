"""Plugins of a recipe: which files it needs, and that they still are what they were when its run began."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from capwright import plugins
from capwright.plugins import FILE_REFERENCE
from capwright.recipes.schema import PluginFile, Recipe
from capwright.types import PluginError


def anchored(raw: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Plain data of a recipe in which the files of its plugins, relative to a folder, are absolute.

    They stand in `plugins`, and anywhere as `path/to/file.py:Name`.
    """
    found: dict[str, Any] = _anchored(raw, folder, {})
    if isinstance(given := found.get("plugins"), list):
        found["plugins"] = [_entry(one, folder) for one in given]
    return found


def pinned(recipe: Recipe) -> list[PluginFile]:
    """All plugins that a recipe names, each once, with the digest it has in the recipe or, without one, has now.

    Of entries with the same path or content the last one counts.

    Raises:
        PluginError: a file without a digest cannot be read.
    """
    found = {one.path: one for one in recipe.plugins}
    named = set(_referred(recipe.model_dump(exclude={"plugins"})))
    for path in sorted(named):
        found.setdefault(path, PluginFile(path=path))
    digests = {path: one.sha256 or plugins.digest(path) for path, one in found.items()}
    last = {sha256: path for path, sha256 in digests.items()}
    kept = [path for path, sha256 in digests.items() if path in named or last[sha256] == path]
    return [PluginFile(path=path, sha256=digests[path]) for path in kept]


def load_plugins(recipe: Recipe) -> None:
    """Execute the plugins of a recipe, each once.

    Raises:
        PluginError: one cannot be loaded, or is not what it was when the run began.
    """
    for one in recipe.plugins:
        if plugins.loaded(one.sha256) is None or not os.path.exists(one.path):
            plugins.load(one.path, one.sha256)


def changed_plugins(recipe: Recipe) -> list[str]:
    """Plugins that are not what they were when a run began, a line each; nothing is executed."""
    found = []
    for one in recipe.plugins:
        with suppress(PluginError):  # a run of another machine
            if (now := plugins.digest(one.path)) != one.sha256:
                found.append(f"{one.path}: has changed ({one.sha256[:8]} -> {now[:8]})")
    return found


def _anchored(value: Any, folder: Path, copies: dict[int, Any]) -> Any:
    """A copy in which what is one object in several places (an alias of YAML) still is, by the ids of the originals."""
    if id(value) in copies:
        return copies[id(value)]
    if isinstance(value, Mapping):
        mapping = copies[id(value)] = {}
        mapping.update((_anchored(key, folder, copies), _anchored(one, folder, copies)) for key, one in value.items())
        return mapping
    if isinstance(value, list):
        sequence = copies[id(value)] = []
        sequence.extend(_anchored(one, folder, copies) for one in value)
        return sequence
    if isinstance(value, str) and (found := FILE_REFERENCE.fullmatch(value)):
        return f"{_absolute(found['path'], folder)}:{found['name']}"
    return value


def _entry(one: Any, folder: Path) -> Any:
    """An entry of `plugins`: a file name is short for an object; what is neither is left to the check of all keys."""
    given = {"path": one} if isinstance(one, str) else one
    if isinstance(given, Mapping) and isinstance(given.get("path"), str):
        return {**given, "path": _absolute(given["path"], folder)}
    return one


def _absolute(path: str, folder: Path) -> str:
    return os.path.abspath(folder / Path(path).expanduser())


def _referred(value: Any) -> Iterator[str]:
    """The files that a dumped recipe names as `path/to/file.py:Name`."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _referred(key)
            yield from _referred(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _referred(inner)
    elif isinstance(value, str) and (found := FILE_REFERENCE.fullmatch(value)):
        yield found["path"]
