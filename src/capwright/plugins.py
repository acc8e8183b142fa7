"""Things of one's own by name: scorers, captioners, curation steps, advantages, decoding strategies, data formats.

A name is looked for among those that are built in, then among those that plugins registered, then among the entry
points of installed packages. `module:Name` and `path/to/file.py:Name` say where a thing is and need no name. A plugin
is a Python file that is loaded by its path and registers what it holds:

    from capwright.plugins import register

    @register("scorer", "shouting")
    def shouting(caption, sample):
        return sum(letter.isupper() for letter in caption) / max(1, len(caption))

An installed package says what it offers in the group `capwright.plugins`, by entry points called KIND.NAME. It is
imported when such a name is asked for, and not before.

Loading a plugin executes its code, with all rights of the process: load none that you would not run.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from capwright.types import EMPTY, PluginError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

#: What a plugin can bring; docs/guides/plugins.md says what each one has to be.
KINDS = ("scorer", "captioner", "step", "advantage", "decoding", "format")
#: The group of entry points.
GROUP = "capwright.plugins"
#: `path/to/file.py:Name`.
FILE_REFERENCE = re.compile(r"(?P<path>[^:\n]+\.py):(?P<name>\w+(\.\w+)*)")

_NAME = re.compile(r"\w[\w+-]*")
T = TypeVar("T")


@dataclass(frozen=True)
class Plugin:
    """A file that was loaded.

    Attributes:
        path: the file, absolute.
        sha256: hex digest of what was executed.
        module: what came of it.
    """

    path: Path
    sha256: str
    module: ModuleType


@dataclass(frozen=True)
class _Registered:
    thing: Any
    origin: str


_registered: dict[tuple[str, str], _Registered] = {}
_loaded: dict[str, Plugin] = {}
_moved: dict[Path, Plugin] = {}
_loading: list[Path] = []


def register(kind: str, name: str) -> Callable[[T], T]:
    """Decorator that gives a class or function a name by which recipes and the command line can ask for it.

    What is defined a second time in the same place (a cell of a notebook that is run again) takes the place of the
    first.

    Args:
        kind: one of `KINDS`.
        name: letters, digits, "_", "-" and "+"; of a format, how the names of its files end ("xml").
    Raises:
        PluginError: no such kind, no such name, or another plugin has taken the name. That a name is built in is
            noticed where one of its kind is asked for.
    """
    _check_kind(kind)
    if not _NAME.fullmatch(name):
        raise PluginError(f"{name!r}: is no name for a {kind}; use letters, digits, '_', '-' and '+'")

    def add(thing: T) -> T:
        origin = str(_loading[-1]) if _loading else str(getattr(thing, "__module__", "this process"))
        before = _registered.get((kind, name))
        if before is not None and _place(before.thing) != _place(thing):
            raise PluginError(
                f"{name}: {origin} has a {kind} of this name, and so has {before.origin}; one needs another name"
            )
        _registered[kind, name] = _Registered(thing, origin)
        return thing

    return add


def load(path: str | Path, sha256: str = "") -> Plugin:
    """Execute a plugin, once: another file with the same content is the same plugin.

    Args:
        path: a Python file. It is a module of its own; what it imports must be installed.
        sha256: what its digest must be; nothing is executed where it differs.
    Raises:
        PluginError: it cannot be read, has another digest, or raises while it is executed: names file and line.
    """
    file = Path(path).expanduser().absolute()
    if sha256 in _loaded and not file.exists():  # it was named where it is now
        _moved[file] = _loaded[sha256]
        return _loaded[sha256]
    code = _read(file)
    found = hashlib.sha256(code).hexdigest()
    if sha256 and found != sha256:
        raise PluginError(
            f"{file}: the plugin has changed ({sha256[:8]} -> {found[:8]}) and is not executed; bring the old file "
            f"back, or take it as it is now with --plugin {file}"
        )
    if found in _loaded:
        return _loaded[found]
    name = f"plugin_{file.stem}_{found[:8]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or file.suffix != ".py":
        raise PluginError(f"{file}: a plugin is a Python file; name one that ends in .py")
    module = importlib.util.module_from_spec(spec)
    before = dict(_registered)
    sys.modules[name] = module
    _loading.append(file)
    try:  # these bytes and no others: an import could take an older file from __pycache__
        exec(compile(code, str(file), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        _registered.clear()
        _registered.update(before)
        if isinstance(error, PluginError):
            raise
        raise PluginError(f"the plugin {file} cannot be loaded: {describe(error, file)}") from error
    finally:
        _loading.pop()
    _loaded[found] = Plugin(file, found, module)
    return _loaded[found]


def resolve(kind: str, name: str, builtin: Mapping[str, Any] = EMPTY, error: type[Exception] = PluginError) -> Any:
    """The thing of a name.

    Args:
        name: a name, `module:Name`, or `path/to/file.py:Name` (relative to the working directory).
        builtin: what is there without plugins: the things, or "module:Name" of each, which is imported now.
        error: what is raised.
    Raises:
        `error`: there is none (the message names the nearest), it cannot be loaded, or a plugin took a name that is
            built in.
    """
    registered = _of_kind(kind)
    for taken in sorted(registered.keys() & builtin.keys()):
        origin = registered[taken].origin
        raise error(f"{taken}: a {kind} with this name exists (built in); the one of {origin} needs another name")
    if name in builtin:
        thing = builtin[name]
        return _reach(thing) if isinstance(thing, str) else thing
    if name in registered:
        return registered[name].thing
    if ":" in name:
        try:
            return _reach(name)
        except PluginError:
            raise
        except Exception as problem:
            raise error(f"the {kind} {name} cannot be had: {describe(problem)}") from problem
    found = [entry for entry in _entry_points() if entry.name == f"{kind}.{name}"]
    if len(found) > 1:
        packages = " and ".join(sorted(map(_package, found)))
        raise error(f"{name}: {packages} both have a {kind} of this name; remove one of them")
    if found:
        try:
            return found[0].load()
        except Exception as problem:
            what = f"of the installed package {_package(found[0])} cannot be loaded: {describe(problem)}"
            raise error(f"{name}: the {kind} {what}; repair or remove that package") from problem
    every = names(kind, builtin)
    near = difflib.get_close_matches(name, every, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    if name.endswith(".py"):
        hint = f"; which one of this file? {name}:NAME"
    raise error(f"there is no {kind} {name!r}{hint} ({kind}s: {', '.join(every) or 'none'})")


def names(kind: str, builtin: Collection[str] = ()) -> tuple[str, ...]:
    """All names of a kind, sorted: built in, registered, and of installed packages, which are not imported for it."""
    prefix = f"{kind}."
    installed = {entry.name.removeprefix(prefix) for entry in _entry_points() if entry.name.startswith(prefix)}
    return tuple(sorted({*builtin, *_of_kind(kind), *installed}))


def registered(kind: str) -> dict[str, Any]:
    """What was registered of a kind, by name. Nothing is loaded."""
    return {name: one.thing for name, one in _of_kind(kind).items()}


def knows(kind: str, name: str, builtin: Collection[str] = ()) -> bool:
    """Whether `resolve` would look for a name anywhere; nothing is loaded, so it may still fail."""
    return name in builtin or ":" in name or name in names(kind)


def loaded(sha256: str) -> Plugin | None:
    """The plugin with this digest, if it was loaded."""
    return _loaded.get(sha256)


def provided_by(plugin: Plugin) -> set[tuple[str, str]]:
    """What a plugin registered, as (kind, name)."""
    return {key for key, one in _registered.items() if one.origin == str(plugin.path)}


def digest(path: str | Path) -> str:
    """The digest that `load` would find. Raises PluginError when the file cannot be read."""
    return hashlib.sha256(_read(Path(path).expanduser())).hexdigest()


def forget() -> None:
    """Forget all that was registered, loaded and found, so that a process that goes on can load changed files."""
    for plugin in _loaded.values():
        sys.modules.pop(plugin.module.__name__, None)
    _registered.clear()
    _loaded.clear()
    _moved.clear()
    _entry_points.cache_clear()


def home(thing: Any) -> str:
    """Module and name of a class or function: "own_scorer.shouting" of one in a plugin, whatever its digest."""
    module = re.sub(r"^plugin_(.+)_[0-9a-f]{8}$", r"\1", str(thing.__module__))
    return f"{module}.{getattr(thing, '__qualname__', type(thing).__qualname__)}"


def describe(error: BaseException, file: Path | None = None) -> str:
    """What an error of a plugin is and where it was raised: "NameError: name 'x' is not defined (own.py, line 3)".

    Args:
        file: where to look; by default the innermost place outside of this file and of Python's import.
    """
    frames = traceback.extract_tb(error.__traceback__)
    skipped = (__file__, importlib.__file__, "<")
    own = [f for f in frames if (not f.filename.startswith(skipped) if file is None else f.filename == str(file))]
    line, where = (own[-1].lineno, own[-1].filename) if own else (None, "")
    if isinstance(error, SyntaxError) and error.filename:
        line, where = error.lineno, error.filename
    what = f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}"
    return f"{what} ({Path(where).name}, line {line})" if line else what


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise PluginError(f"{file}: the plugin cannot be read ({why}); say where it is with --plugin FILE") from error


def _reach(reference: str) -> Any:
    """What `module:Name` or `path/to/file.py:Name` stands for."""
    place, _, attribute = reference.rpartition(":")
    thing: Any = _file_module(place) if place.endswith(".py") else importlib.import_module(place)
    for part in attribute.split("."):
        thing = getattr(thing, part)
    return thing


def _file_module(path: str) -> ModuleType:
    """The module of a file: as it was when this process loaded it first, however it has changed since."""
    file = Path(path).expanduser().absolute()
    known = [plugin.module for plugin in _loaded.values() if plugin.path == file]
    known += [_moved[file].module] if file in _moved else []
    return known[0] if known else load(file).module


def _of_kind(kind: str) -> dict[str, _Registered]:
    _check_kind(kind)
    return {name: one for (of, name), one in _registered.items() if of == kind}


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise PluginError(f"there is no kind of plugin {kind!r} (kinds: {', '.join(KINDS)})")


def _place(thing: Any) -> tuple[Any, ...]:
    """Where a thing is defined; of what has no such place, the thing itself."""
    name = getattr(thing, "__qualname__", None)
    return (thing,) if name is None or "<" in name else (thing.__module__, name)


@lru_cache(maxsize=1)
def _entry_points() -> tuple[EntryPoint, ...]:
    from importlib.metadata import entry_points

    return tuple(entry_points(group=GROUP))


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.value
