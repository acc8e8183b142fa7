"""The direction of the imports is the architecture; this holds the code to it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from places import SOURCE

PACKAGE = SOURCE
FLOORS = ["types", "ports", "data", "scenes", "models", "scorers", "curation", "recipes", "training", "runs"]
FLOORS += ["evaluation", "cli"]
STRANGERS = {("training", "evaluation"), ("evaluation", "training"), ("scorers", "training")}
STRANGERS |= {("runs", "evaluation"), ("evaluation", "runs")}
STRANGERS |= {("recipes", room) for room in ("data", "scenes", "models", "scorers")}
ALL = sorted(PACKAGE.rglob("*.py"))
FILES = [path for path in ALL if path.relative_to(PACKAGE).parts[0].removesuffix(".py") in FLOORS]


def floor(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path):
    """Rooms a file imports, with the line and whether it is at the top of the module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"capwright.{a.name}" for a in node.names] if node.module == "capwright" else [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            yield name, node.lineno, node in tree.body


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    here = floor(path)
    for name, line, _ in imported(path):
        parts = name.split(".")
        if parts[0] != "capwright" or len(parts) < 2 or parts[1] not in FLOORS:
            continue
        there = parts[1]
        assert FLOORS.index(there) <= FLOORS.index(here), f"{path}:{line}: {here} imports {there}"
        assert (here, there) not in STRANGERS, f"{path}:{line}: {here} must not know {there}"
        if (here, there) == ("scorers", "models"):  # whom to ask; torch stays out of it
            assert name == "capwright.judges.load", f"{path}:{line}: scorers ask through models.assistants"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_measuring_needs_no_torch(path):
    if floor(path) in ("models", "training", "runs", "cli"):
        return
    for name, line, at_top in imported(path):
        assert not (at_top and name.split(".")[0] in ("torch", "transformers", "accelerate")), f"{path}:{line}: {name}"


@pytest.mark.parametrize("path", ALL, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_tell_one_story(path):
    assert path.read_text(encoding="utf-8").count("\n") <= 450, "is there a second story in it?"
    assert path.stem not in {"utils", "util", "helpers", "common", "misc"}
