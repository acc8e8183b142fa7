"""The direction of the imports is the architecture; this holds the code to it."""

from __future__ import annotations

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from places import ROOT, SOURCE

#: From the ground up. A room may import those before it, but for `STRANGERS`.
FLOORS = ["lazy", "types", "plugins", "arrays", "console", "yaml_text"]
FLOORS += ["data", "text", "models", "judges", "scenes", "scorers"]
FLOORS += ["recipes", "curation", "captioning", "training", "evaluation", "robustness", "report", "runs", "cli"]
#: (a room, one below it that it must not know).
STRANGERS = {("scorers", "models"), ("scorers", "scenes"), ("judges", "scenes"), ("curation", "scenes")}
STRANGERS |= {("evaluation", "training"), ("robustness", "training"), ("report", "training")}
STRANGERS |= {("training", room) for room in ("scenes", "captioning", "curation")}
STRANGERS |= {("recipes", room) for room in ("data", "text", "scenes", "models", "judges")}
STRANGERS |= {(room, "scenes") for room in ("models", "captioning", "evaluation", "robustness", "report")}
#: (a room, what it may import of a room that it must not know otherwise).
PORTS = {("scorers", "capwright.models.encoders"), ("scorers", "capwright.models.text_encoder")}
#: A model in this process, and the training of the captioner that ships with the package: imported when asked for.
WITH_TORCH = {"judges/client/local.py", "scenes/captioner.py", "scenes/word_detectors.py"}
ALL = sorted(SOURCE.rglob("*.py"))
FILES = [path for path in ALL if path.relative_to(SOURCE).parts[0].removesuffix(".py") in FLOORS]


def floor(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported(path: Path, whole: bool = False):
    """Modules a file imports, with the line and whether it is at the top of the module.

    `whole`: also `capwright.a.b` for "from capwright.a import b", which may be a module.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"capwright.{a.name}" for a in node.names] if node.module == "capwright" else [node.module]
            names += [f"{node.module}.{a.name}" for a in node.names] if whole else []
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            yield name, node.lineno, node in tree.body


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_down(path):
    here = floor(path)
    for name, line, _ in imported(path):
        parts = name.split(".")
        if parts[0] != "capwright" or len(parts) < 2 or parts[1] not in FLOORS:
            continue
        there = parts[1]
        assert FLOORS.index(there) <= FLOORS.index(here), f"{path}:{line}: {here} imports {there}"
        known = (here, there) not in STRANGERS or (here, name) in PORTS
        assert known, f"{path}:{line}: {here} must not know {there}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_measuring_needs_no_torch(path):
    if floor(path) in ("models", "training", "runs", "cli") or str(path.relative_to(SOURCE)) in WITH_TORCH:
        return
    for name, line, at_top in imported(path):
        assert not (at_top and name.split(".")[0] in ("torch", "transformers", "accelerate")), f"{path}:{line}: {name}"


def test_every_room_has_a_floor():
    assert {floor(path) for path in ALL} - set(FLOORS) == {"__init__", "__main__"}


def test_no_circles():
    """Of files, imports inside functions included; a package's `__init__` stands for what it names, not for itself."""
    names = {".".join(("capwright", *path.relative_to(SOURCE).with_suffix("").parts)): path for path in ALL}
    graph: dict[str, set[str]] = {name: set() for name in names}
    for name, path in names.items():
        for found, _, _ in imported(path, whole=True):
            if found in names and path.name != "__init__.py":
                graph[name].add(found)
    tuple(TopologicalSorter(graph).static_order())  # raises CycleError, which names the files


@pytest.mark.parametrize("path", ALL, ids=lambda path: str(path.relative_to(SOURCE)))
def test_files_tell_one_story(path):
    assert path.read_text(encoding="utf-8").count("\n") <= 450, "is there a second story in it?"
    assert path.stem not in {"utils", "util", "helpers", "common", "misc"}


def test_walks_are_short_and_name_files_that_are_there():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    walks = page.partition("\n## Walks\n")[2].partition("\n## ")[0]
    steps = re.findall(r"^(\d+)\. `([^`]+)`", walks, re.MULTILINE)
    assert [number for number, _ in steps].count("1") == walks.count("\n**") > 0
    assert [path for _, path in steps if not (SOURCE / path).is_file()] == []
    assert max(int(number) for number, _ in steps) <= 12


def test_what_is_printed_goes_through_the_console():
    """It shows control characters of names, captions and answers of servers; a terminal would obey them."""
    for path in ALL:
        if path.name in ("console.py", "_display.py", "progress.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            assert called not in ("print", "typer.echo", "typer.secho", "sys.stdout.write", "sys.stderr.write"), path
