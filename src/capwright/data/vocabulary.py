"""vocabulary.yaml: the names of a domain, one entry a term.

    geoboard: {category: board, tier: never, aliases: [geo board]}
    pegboard:

Every word is taken as it is written: a term called `no` or `7` is a name, not a truth value or a number.
"""

from __future__ import annotations

import copyreg
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from capwright.data.files import nearest, read_text, write_bytes
from capwright.types import LEVELS, DataError, Term, Vocabulary
from capwright.yaml_text import compose_yaml

KEYS = ("aliases", "category", "plurals", "level", "tier")
_NULL = "tag:yaml.org,2002:null"

# Words that some YAML readers take for a truth value or for nothing.
_NOT_WORDS = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null"))

#: note(line or None, what is wrong).
VocabularyNote = Callable[["int | None", str], None]

# A read-only mapping proxy cannot be pickled; worker processes get the terms and build it again.
copyreg.pickle(Vocabulary, lambda vocabulary: (Vocabulary, (dict(vocabulary),)))


def read_vocabulary(path: str | Path) -> Vocabulary:
    """Read a vocabulary file. An empty file is an empty vocabulary.

    Raises:
        DataError: names the file and line: not YAML, a term given twice, an unknown key (with the nearest one),
            a value of the wrong kind, a level that is not one of `types.LEVELS`.
    """

    def refuse(line: int | None, message: str) -> None:
        raise DataError(f"{path}:{line}: {message}" if line else f"{path}: {message}")

    return parse_vocabulary(read_text(Path(path)), refuse)


def parse_vocabulary(text: str, note: VocabularyNote) -> Vocabulary:
    """The terms of `text`; `note` hears of everything that is wrong, which is then left out."""
    root = _compose(text, note)
    if root is None or root.tag == _NULL:
        return Vocabulary({})
    if not isinstance(root, yaml.MappingNode):
        note(1, 'must be a mapping of terms, such as "geoboard: {category: board}"')
        return Vocabulary({})
    terms: dict[str, Term] = {}
    for key, value in root.value:
        name = _word(key, "a term", note)
        if name in terms:
            note(_line(key), f'the term "{name}" is given twice; merge the two entries')
        elif name:
            terms[name] = _term(name, value, note)
    return Vocabulary(terms)


def _compose(text: str, note: VocabularyNote) -> yaml.Node | None:
    try:
        return compose_yaml(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1 if isinstance(error.position, int) else 1
        note(line, "not valid YAML: a character that YAML does not allow; remove it")
    except yaml.MarkedYAMLError as error:
        note(
            error.problem_mark.line + 1 if error.problem_mark else 1,
            f"not valid YAML: {error.problem or error.context}",
        )
    except (yaml.YAMLError, RecursionError) as error:
        note(None, f"not valid YAML: {error}")
    return None


def write_vocabulary(vocabulary: Vocabulary, path: str | Path) -> None:
    """Write `vocabulary` all or nothing, in its own order; `read_vocabulary` gives the same terms back.

    Raises:
        DataError: the file cannot be written, or a name cannot be stored as text.
    """
    path = Path(path)
    try:
        data = "".join(_entry(term) for term in vocabulary.values()).encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(f"{path}: a term holds half of a surrogate pair, which UTF-8 cannot store") from error
    write_bytes(path, data)


def _entry(term: Term) -> str:
    """One line of the file."""
    parts = [f"{key}: {_scalar(value)}" for key, value in (("category", term.category), ("tier", term.tier)) if value]
    if term.level != "professional":
        parts.append(f"level: {term.level}")
    for key, words in (("aliases", term.aliases), ("plurals", term.plurals)):
        if words:
            parts.append(f"{key}: [{', '.join(_scalar(word) for word in words)}]")
    name = _scalar(term.name)
    key = f"? {name}\n" if len(name) > 1000 else name  # YAML wants a sign before a key that long
    return f"{key}: {{{', '.join(parts)}}}\n" if parts else f"{key}:\n"


def _scalar(word: str) -> str:
    """A word as YAML that every reader takes for text: plain where that is safe, else in double quotes."""
    if re.fullmatch(r"[^\W\d_](?:[\w -]*\w)?", word) and word.isprintable() and word.casefold() not in _NOT_WORDS:
        return word
    escaped = (
        c if (c.isprintable() and c not in '"\\') or "\ud800" <= c <= "\udfff" else f"\\U{ord(c):08x}" for c in word
    )
    return f'"{"".join(escaped)}"'


def shared_names(vocabulary: Vocabulary) -> dict[str, list[str]]:
    """Names and aliases (case folded) that more than one term claims, with those terms."""
    owners: dict[str, list[str]] = {}
    for name, term in vocabulary.items():
        for word in dict.fromkeys(word.casefold() for word in (name, *term.aliases)):
            owners.setdefault(word, []).append(name)
    return {word: names for word, names in owners.items() if len(names) > 1}


def _line(node: yaml.Node) -> int:
    return node.start_mark.line + 1


def _word(node: yaml.Node, what: str, note: VocabularyNote) -> str:
    if isinstance(node, yaml.ScalarNode) and node.tag != _NULL and node.value.strip():
        return node.value.strip()
    note(_line(node), f"{what} must be a word or a phrase")
    return ""


def _words(node: yaml.Node, key: str, note: VocabularyNote) -> tuple[str, ...]:
    if node.tag == _NULL:
        return ()
    if isinstance(node, yaml.ScalarNode):
        nodes = [node]
    elif isinstance(node, yaml.SequenceNode):
        nodes = node.value
    else:
        note(_line(node), f'"{key}" must be a list of words, such as [geo board, peg grid]')
        return ()
    words = [_word(each, f'each of "{key}"', note) for each in nodes]
    return tuple(word for word in words if word)


def _term(name: str, node: yaml.Node, note: VocabularyNote) -> Term:
    if node.tag == _NULL:
        return Term(name)
    if not isinstance(node, yaml.MappingNode):
        note(_line(node), f'"{name}" must be followed by nothing or by {{{", ".join(KEYS)}}}')
        return Term(name)
    found: dict[str, Any] = {}
    for key_node, value in node.value:
        key = _word(key_node, "a key", note)
        if not key:
            continue
        if key not in KEYS:
            known = ", ".join(KEYS)
            note(_line(key_node), f'unknown key "{key}" of "{name}"{nearest(key, KEYS)}; known are {known}')
        elif key in found:
            note(_line(key_node), f'"{key}" of "{name}" is given twice; keep one')
        elif key in ("aliases", "plurals"):
            found[key] = _words(value, key, note)
        elif value.tag != _NULL:
            found[key] = _word(value, f'"{key}" of "{name}"', note)
            if key == "level" and found[key] not in LEVELS:
                if found[key]:
                    note(_line(value), f'level "{found[key]}" of "{name}" is not one of {", ".join(LEVELS)}')
                del found[key]
    return Term(name, **found)
