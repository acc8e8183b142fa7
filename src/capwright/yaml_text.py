"""YAML within limits: how deep it nests, and how much its aliases stand for.

A few lines of aliases can stand for millions of values, and deep nesting ends readers (the one in C without a word), so
both are looked at before anything is built.
"""

from __future__ import annotations

import math
from typing import Any

import yaml

#: Mappings and lists in each other.
DEEPEST = 100
#: Values that all aliases of a file stand for together.
MOST_ALIASED = 100_000

_FAST = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load_yaml(text: str) -> Any:
    """The value of a text. Raises yaml.YAMLError, which knows the line, when it is not YAML or beyond the limits."""
    _check(text)
    try:
        return yaml.load(text, Loader=_FAST)
    except ValueError as error:  # what looks like a number or a date and is none: 2001-99-99, ten thousand digits
        raise yaml.YAMLError(f"a value cannot be read: {error}") from error


def compose_yaml(text: str) -> yaml.Node | None:
    """Its nodes, which know their lines; None of an empty text. Raises as `load_yaml` does."""
    _check(text)
    return yaml.compose(text, Loader=_FAST)


def _check(text: str) -> None:
    """Raise for what is beyond the limits; what is not YAML is left to the reader."""
    sizes: dict[str, float] = {}  # of what has an anchor: how many values it is
    nested: list[list[Any]] = []  # [anchor, values] of what is open
    aliased = 0.0
    events = yaml.parse(text, Loader=_FAST)
    while True:
        try:
            event: Any = next(events, None)
        except yaml.YAMLError:
            return
        if event is None:
            return
        size = 0.0
        if isinstance(event, yaml.AliasEvent):
            size = sizes.get(anchor := str(event.anchor), 1)
            if size == math.inf:
                raise _refused(f"the alias *{anchor[:40]} stands for what it is a part of", event)
            aliased += size
        elif isinstance(event, yaml.ScalarEvent):
            size = 1
            if event.anchor:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            nested.append([event.anchor, 1])
            if event.anchor:
                sizes[event.anchor] = math.inf  # until it ends
        elif isinstance(event, yaml.CollectionEndEvent):
            name, size = nested.pop()
            if name:
                sizes[name] = size
        if nested:
            nested[-1][1] += size
        if len(nested) > DEEPEST:
            raise _refused(f"it nests deeper than {DEEPEST} levels", event)
        if aliased > MOST_ALIASED:
            raise _refused(f"its aliases (*) stand for more than {MOST_ALIASED:,} values; write them out", event)


def _refused(problem: str, event: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
