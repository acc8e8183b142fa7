"""Values of figures: rows of result files, and the small arithmetic that pages need of them.

An expression is Python's arithmetic on names, read by its parser and carried out here, so that nothing else can run:

    speedup                          a column of the row that the claim is about
    sft.micro, grpo.micro            columns of rows that the claim names
    (high - low) / 2, 100 * share    + - * / and brackets
    seeds[0], versions.trl           a part of a list, of a record
    min(packed.speedup)              of several rows or of a list: min, max, mean, sum, len; round, abs of one number
"""

from __future__ import annotations

import ast
import operator
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from results_file import read_results, whole_rows

FOLDER = Path("benchmarks") / "results"
OF_MANY: dict[str, Any] = {"min": min, "max": max, "mean": statistics.fmean, "sum": sum, "len": len}
OF_ONE: dict[str, Any] = {"round": round, "abs": abs}
OPERATORS: dict[type, Any] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.USub: operator.neg,
}


class FigureError(Exception):
    """A figure has no value; the message says why."""


class Results:
    """The result files of a repository, each read once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._files: dict[str, dict[str, Any]] = {}

    def path(self, name: str) -> Path:
        return self.root / FOLDER / f"{name}.json"

    def file(self, name: str) -> dict[str, Any]:
        """A result file that may be used; FigureError says what is wrong with it."""
        if name not in self._files:
            where = f"{FOLDER / name}.json"
            if not self.path(name).exists():
                raise FigureError(f"there is no {where}; make it, or list it under untraced in docs/figures.yaml")
            try:
                found = read_results(self.path(name))
            except ValueError as error:
                raise FigureError(f"{where}: {error}") from error
            for row in [found, *found["rows"]]:
                words = str(row.get("command", "")).split()
                if "--quick" in words:
                    raise FigureError(f"{where}: was made with --quick, which measures nothing")
                for script in (word for word in words if word.startswith("benchmarks/") and word.endswith(".py")):
                    if not (self.root / script).exists():
                        raise FigureError(f"{where}: was made by {script}, which is not there")
            self._files[name] = found
        return self._files[name]

    def used(self) -> dict[str, dict[str, Any]]:
        """The files that were asked for, by name."""
        return dict(self._files)


class Rows:
    """The rows of a file with given values in given columns. A column is one value, or a list of several."""

    def __init__(self, results: Results, file: str, where: Mapping[str, Any]) -> None:
        self.results, self.file, self.where = results, file, dict(where)

    def __str__(self) -> str:
        said = ", ".join(f"{key}={'null' if value is None else value}" for key, value in self.where.items())
        return f"{FOLDER / self.file}.json" + (f", row {said}" if said else "")

    def column(self, name: str) -> Any:
        found = [
            row
            for row in whole_rows(self.results.file(self.file))
            if all(row.get(key) == value for key, value in self.where.items())
        ]
        if not found:
            raise FigureError(f"no such row: {self}")
        if missing := [row for row in found if name not in row]:
            raise FigureError(f"{self}: no column {name}; there are {', '.join(missing[0])}")
        return found[0][name] if len(found) == 1 else [row[name] for row in found]


def value(expression: str, rows: Mapping[str, Rows], own: Rows | None) -> Any:
    """The value of an expression; None where a part of it is unknown."""
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
    except SyntaxError as error:
        raise FigureError(f"{{{expression}}}: not an expression ({error.msg})") from error
    try:
        return _value(tree, rows, own)
    except (TypeError, ZeroDivisionError, KeyError, IndexError, ValueError) as error:
        raise FigureError(f"{{{expression}}}: {error}") from error


def _value(node: ast.expr, rows: Mapping[str, Rows], own: Rows | None) -> Any:
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float, str)):
        return node.value
    if isinstance(node, ast.Name) and node.id not in rows:
        if own is None:
            raise FigureError(f"{node.id}: neither one of the rows of the claim nor a column, for it has no `where`")
        return own.column(node.id)
    if isinstance(node, ast.Attribute):
        if isinstance(node.value, ast.Name) and node.value.id in rows:
            return rows[node.value.id].column(node.attr)
        return _value(node.value, rows, own)[node.attr]
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return _value(node.value, rows, own)[node.slice.value]
    if isinstance(node, ast.UnaryOp) and type(node.op) in OPERATORS:
        inner = _value(node.operand, rows, own)
        return None if inner is None else OPERATORS[type(node.op)](inner)
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        left, right = _value(node.left, rows, own), _value(node.right, rows, own)
        return None if left is None or right is None else OPERATORS[type(node.op)](left, right)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        if node.func.id not in {**OF_MANY, **OF_ONE}:
            raise FigureError(f"{node.func.id}(): no such function; there are {', '.join([*OF_MANY, *OF_ONE])}")
        parts = [_value(argument, rows, own) for argument in node.args]
        flat = [each for part in parts for each in (part if isinstance(part, list) else [part])]
        if None in flat:
            return None
        return OF_MANY[node.func.id](flat) if node.func.id in OF_MANY else OF_ONE[node.func.id](*parts)
    raise FigureError(f"{ast.unparse(node)}: not allowed in a figure")


def rendered(expression: str, form: str, rows: Mapping[str, Rows], own: Rows | None) -> str:
    """The value as it stands in a page; a minus is the real one."""
    found = value(expression, rows, own)
    try:
        return "unknown" if found is None else format(found, form).replace("-", "−")
    except (TypeError, ValueError) as error:
        raise FigureError(f"{{{expression}:{form}}}: {error}; the value is {found!r}") from error
