"""vocabulary.yaml: the names of a domain, one entry a term.

    geoboard: {category: board, tier: never, aliases: [geo board]}
    pegboard:

Every word is taken as it is written: a term called `no` or `7` is a name, not a truth value or a number.
"""

from __future__ import annotations

import copyreg
from pathlib import Path
from typing import Any

import yaml

from ..types import LEVELS, DataError, Term, Vocabulary
from .disk import nearest, read_text, write_bytes

KEYS = ("aliases", "category", "plurals", "level", "tier")
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL = "tag:yaml.org,2002:null"

# A read-only mapping proxy can not be pickled; worker processes get the terms and build it again.
copyreg.pickle(Vocabulary, lambda vocabulary: (Vocabulary, (dict(vocabulary),)))


def read_vocabulary(path: str | Path) -> Vocabulary:
    """Read a vocabulary file. An empty file is an empty vocabulary.

    Raises:
        DataError: names the file and line: not YAML, a term given twice, an unknown key (with the nearest one),
            a value of the wrong kind, a level that is not one of `types.LEVELS`.
    """
    path = Path(path)
    text = read_text(path)
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1 if isinstance(error.position, int) else 1
        raise DataError(f"{path}:{line}: not valid YAML: a character that YAML does not allow; remove it") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise DataError(f"{path}:{line}: not valid YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise DataError(f"{path}: not valid YAML: {error}") from error
    if root is None or root.tag == _NULL:
        return Vocabulary({})
    if not isinstance(root, yaml.MappingNode):
        raise DataError(f'{path}:1: must be a mapping of terms, such as "geoboard: {{category: board}}"')
    terms: dict[str, Term] = {}
    for key, value in root.value:
        name = _word(key, path, "a term")
        if name in terms:
            raise DataError(f'{path}:{_line(key)}: the term "{name}" is given twice; merge the two entries')
        terms[name] = _term(name, value, path)
    return Vocabulary(terms)


def write_vocabulary(vocabulary: Vocabulary, path: str | Path) -> None:
    """Write `vocabulary` all or nothing, in its own order; `read_vocabulary` gives the same terms back.

    Raises:
        DataError: the file can not be written, or a name can not be stored as text.
    """
    path = Path(path)
    entries: dict[str, dict[str, Any]] = {}
    for name, term in vocabulary.items():
        entry: dict[str, Any] = {}
        if term.category:
            entry["category"] = term.category
        if term.tier:
            entry["tier"] = term.tier
        if term.level != "professional":
            entry["level"] = term.level
        if term.aliases:
            entry["aliases"] = list(term.aliases)
        if term.plurals:
            entry["plurals"] = list(term.plurals)
        entries[name] = entry
    text = yaml.safe_dump(entries, allow_unicode=True, sort_keys=False, default_flow_style=None, width=10**9)
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(f"{path}: a term holds half of a surrogate pair, which UTF-8 can not store") from error
    write_bytes(path, data if entries else b"")


def shared_names(vocabulary: Vocabulary) -> dict[str, list[str]]:
    """Names and aliases (case folded) that more than one term claims, with those terms."""
    owners: dict[str, list[str]] = {}
    for name, term in vocabulary.items():
        for word in dict.fromkeys(word.casefold() for word in (name, *term.aliases)):
            owners.setdefault(word, []).append(name)
    return {word: names for word, names in owners.items() if len(names) > 1}


def _line(node: yaml.Node) -> int:
    return node.start_mark.line + 1


def _word(node: yaml.Node, path: Path, what: str) -> str:
    if not isinstance(node, yaml.ScalarNode) or node.tag == _NULL or not node.value.strip():
        raise DataError(f"{path}:{_line(node)}: {what} must be a word or a phrase")
    return node.value.strip()


def _words(node: yaml.Node, path: Path, key: str) -> tuple[str, ...]:
    if node.tag == _NULL:
        return ()
    if isinstance(node, yaml.ScalarNode):
        return (_word(node, path, f'each of "{key}"'),)
    if not isinstance(node, yaml.SequenceNode):
        raise DataError(f'{path}:{_line(node)}: "{key}" must be a list of words, such as [geo board, peg grid]')
    return tuple(_word(item, path, f'each of "{key}"') for item in node.value)


def _term(name: str, node: yaml.Node, path: Path) -> Term:
    if node.tag == _NULL:
        return Term(name)
    if not isinstance(node, yaml.MappingNode):
        raise DataError(f'{path}:{_line(node)}: "{name}" must be followed by nothing or by {{{", ".join(KEYS)}}}')
    found: dict[str, Any] = {}
    for key_node, value in node.value:
        key = _word(key_node, path, "a key")
        if key not in KEYS:
            raise DataError(
                f'{path}:{_line(key_node)}: unknown key "{key}" of "{name}"{nearest(key, KEYS)}; '
                f"known are {', '.join(KEYS)}"
            )
        if key in found:
            raise DataError(f'{path}:{_line(key_node)}: "{key}" of "{name}" is given twice; keep one')
        if key in ("aliases", "plurals"):
            found[key] = _words(value, path, key)
        elif value.tag != _NULL:
            found[key] = _word(value, path, f'"{key}" of "{name}"')
    level = found.get("level", "professional")
    if level not in LEVELS:
        raise DataError(f'{path}:{_line(node)}: level "{level}" of "{name}" is not one of {", ".join(LEVELS)}')
    return Term(name, **found)
