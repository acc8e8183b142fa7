"""Names of a package that are loaded on first use, so that importing the package is quick and needs no torch.

The stub of a package, `__init__.pyi`, says which module each of its names is in: once, for type checkers and editors as
well as for `attach` (SPEC 1, https://scientific-python.org/specs/spec-0001/).
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any


def attach(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of the package whose `__name__` and `__file__` these are."""
    stub = ast.parse(Path(file).with_suffix(".pyi").read_text(encoding="utf-8"))
    homes = {alias.name: node.module for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    names = sorted(homes)

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(str(homes[name])), name)

    return load, lambda: names, names
