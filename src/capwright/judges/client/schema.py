"""JSON out of what a model wrote, and whether it follows a schema.

Only the part of JSON schema that our prompts use is understood: type, properties, required, items, enum, const, anyOf,
minimum, maximum, minItems, maxItems, minLength, maxLength, additionalProperties (true or false) and annotations. A
schema with another word is refused, so that no rule is passed over in silence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}
_RULES = {"type", "properties", "required", "items", "enum", "const", "anyOf", "minimum", "maximum", "minItems"}
_RULES |= {"maxItems", "minLength", "maxLength", "additionalProperties"}
_NOTES = {"title", "description", "default", "examples", "$schema"}
_FENCE = re.compile(r"```[\w-]*[ \t]*\n?(.*?)```", re.DOTALL)


def check_schema(schema: Mapping[str, Any], where: str = "schema") -> None:
    """Raises ValueError at a word that is not understood here."""
    for word, rule in schema.items():
        if word not in _RULES | _NOTES:
            raise ValueError(f"{where}: {word!r} is not understood; use {', '.join(sorted(_RULES))}")
        if word == "type" and not all(kind in _TYPES for kind in _kinds(rule)):
            raise ValueError(f"{where}: type {rule!r} is none of {', '.join(_TYPES)}")
        if word == "additionalProperties" and not isinstance(rule, bool):
            raise ValueError(f"{where}: additionalProperties is true or false here")
    for name, below in schema.get("properties", {}).items():
        check_schema(below, f"{where}.{name}")
    if "items" in schema:
        check_schema(schema["items"], f"{where}[]")
    for below in schema.get("anyOf", ()):
        check_schema(below, f"{where}.anyOf")


def problem(value: Any, schema: Mapping[str, Any], where: str = "answer") -> str:
    """What is wrong with a value by a schema, in words; "" when nothing is."""
    if "anyOf" in schema:
        found = [problem(value, below, where) for below in schema["anyOf"]]
        if all(found):
            return f"{where}: fits none of {len(found)} kinds ({found[0]})"
    kinds = _kinds(schema.get("type", ()))
    if kinds and not any(_is(value, kind) for kind in kinds):
        return f"{where}: {_short(value)} is not of type {' or '.join(kinds)}"
    if "enum" in schema and not any(_same(value, one) for one in schema["enum"]):
        return f"{where}: {_short(value)} is none of {_short(list(schema['enum']))}"
    if "const" in schema and not _same(value, schema["const"]):
        return f"{where}: {_short(value)} is not {_short(schema['const'])}"
    if isinstance(value, dict):
        return _object_problem(value, schema, where)
    if isinstance(value, list):
        for number, one in enumerate(value):
            if wrong := problem(one, schema.get("items", {}), f"{where}[{number}]"):
                return wrong
        return _size_problem(len(value), schema, "Items", where)
    if isinstance(value, str):
        return _size_problem(len(value), schema, "Length", where)
    if _is(value, "number"):
        low, high = schema.get("minimum", value), schema.get("maximum", value)
        return "" if low <= value <= high else f"{where}: {value} is not from {low} to {high}"
    return ""


def read_json(text: str, schema: Mapping[str, Any]) -> tuple[Any, str]:
    """The JSON in a text that follows a schema, and "" ; or None and what is wrong.

    Forgiven: text before and after, code fences, trailing commas, Python's True, False and None, single quotes around
    everything. Numbers are never made up and nothing is completed: an answer that was cut off stays wrong. When several
    pieces of JSON follow the schema the last is taken, because models correct themselves; in the whole text first, then
    fences, then what is between braces.
    """
    wrong = "no JSON in it"
    for piece in _pieces(text):
        for value in _loaded(piece):
            found = problem(value, schema)
            if not found:
                return value, ""
            wrong = found
    return None, wrong


def _pieces(text: str) -> list[str]:
    text = text.strip().lstrip("\ufeff")
    return [text, *reversed(_FENCE.findall(text)), *reversed(_balanced(text))]


def _balanced(text: str) -> list[str]:
    """Outermost {...} and [...] of a text, in order; brackets within strings do not count."""
    found, depth, start, quoted, escaped = [], 0, 0, False, False
    for place, sign in enumerate(text):
        if depth and quoted:
            quoted = escaped or sign != '"'
            escaped = sign == "\\" and not escaped
        elif sign == '"' and depth:
            quoted = True
        elif sign in "{[":
            start = start if depth else place
            depth += 1
        elif sign in "}]" and depth:
            depth -= 1
            if depth == 0:
                found.append(text[start : place + 1])
    return found


def _loaded(piece: str) -> list[Any]:
    """Readings of a piece, the strictest first."""
    piece = piece.strip()
    if not piece:
        return []
    for mended in (piece, _without_commas(piece), _from_python(piece)):
        try:
            return [json.loads(mended, parse_constant=_refuse)]
        except (ValueError, RecursionError):
            continue
    return []


def _without_commas(piece: str) -> str:
    """Commas before a closing bracket left out; strings stay as they are."""
    return re.sub(r'("(?:[^"\\]|\\.)*")|,(\s*[}\]])', lambda hit: hit[1] or hit[2], piece, flags=re.DOTALL)


def _from_python(piece: str) -> str:
    """A Python literal as JSON."""
    import ast

    try:
        return json.dumps(ast.literal_eval(piece), allow_nan=False)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return ""


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _object_problem(value: dict[str, Any], schema: Mapping[str, Any], where: str) -> str:
    known = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            return f"{where}: {name!r} is missing"
    for name, one in value.items():
        if name in known:
            if wrong := problem(one, known[name], f"{where}.{name}"):
                return wrong
        elif schema.get("additionalProperties") is False:
            return f"{where}: {name!r} was not asked for"
    return ""


def _size_problem(size: int, schema: Mapping[str, Any], what: str, where: str) -> str:
    low, high = schema.get(f"min{what}", 0), schema.get(f"max{what}", size)
    return "" if low <= size <= high else f"{where}: has {size} {what.lower()}, not {low} to {high}"


def _kinds(rule: Any) -> tuple[str, ...]:
    return (rule,) if isinstance(rule, str) else tuple(rule)


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[kind])


def _same(value: Any, other: Any) -> bool:
    return type(value) is type(other) and value == other


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
