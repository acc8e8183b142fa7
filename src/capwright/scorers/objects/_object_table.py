"""Objects and the words for them: a table that finds which objects a text mentions, and where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from capwright.data.files import nearest, read_text
from capwright.text.digest import fingerprint
from capwright.text.normalize import tokens
from capwright.text.term_matching import TermMatcher
from capwright.types import DataError, Term, Vocabulary
from capwright.yaml_text import compose_yaml

_COCO = Path(__file__).with_name("chair_objects.yaml")
_KEYS = ("objects", "ignore", "attached")
_NULL = "tag:yaml.org,2002:null"


class ObjectMention(NamedTuple):
    """An object that a text mentions with its characters `start` to `end`."""

    start: int
    end: int
    object: str


class ObjectTable:
    """Finds objects in text. Made by `coco_objects`, `read_objects` or `vocabulary_objects`.

    Attributes:
        name: of the table, for signatures ("coco").
        objects: the objects it knows, in order.
    """

    def __init__(self, name: str, matcher: TermMatcher, meaning: Sequence[str]) -> None:
        """`meaning` gives the object of each entry of the matcher, "" for one that names no object."""
        self.name = name
        self.objects = tuple(dict.fromkeys(filter(None, meaning)))
        self._matcher = matcher
        self._meaning = tuple(meaning)
        self._by_name = {tokens(object): object for object in self.objects}

    def __len__(self) -> int:
        return len(self.objects)

    @property
    def fingerprint(self) -> str:
        """Hex digest of everything that can change a mention."""
        return fingerprint([self._matcher.fingerprint, list(self._meaning)])

    def find(self, text: str) -> list[ObjectMention]:
        """Every mention, in order; of overlapping phrases the longest counts."""
        meaning = self._meaning
        return [ObjectMention(m.start, m.end, meaning[m.entry]) for m in self._matcher.find(text) if meaning[m.entry]]

    def lookup(self, name: str) -> str | None:
        """The object that a name or a word stands for; None when it is none of this table."""
        found = self._by_name.get(tokens(name))
        if found is None:
            entry = self._matcher.lookup(name)
            found = self._meaning[entry] if entry is not None else None
        return found or None

    def knows(self, name: str) -> bool:
        """Whether a name has a meaning here, if only that it names no object (a generic term)."""
        return tokens(name) in self._by_name or self._matcher.lookup(name) is not None

    def limited_to(self, objects: Iterable[str]) -> ObjectTable:
        """The same words, with mentions of other objects left out."""
        kept = set(objects)
        return ObjectTable(self.name, self._matcher, [each if each in kept else "" for each in self._meaning])


def with_coco_words(vocabulary: Vocabulary) -> Vocabulary:
    """The vocabulary with words of chair_objects.yaml as aliases: "person" is "man", "woman", "child" ..., too.

    Terms of other names stay as they are, and a word that is a term, or an alias, of its own is nobody else's alias.
    """
    words = _read_table(_COCO)[0]
    taken = {word.casefold() for name, term in vocabulary.items() for word in (name, *term.aliases)}
    found = {}
    for name, term in vocabulary.items():
        more = [word for word in words.get(name) or () if word.casefold() not in taken]
        found[name] = replace(term, aliases=(*term.aliases, *more))
    return Vocabulary(found)


@lru_cache(maxsize=1)
def coco_objects() -> ObjectTable:
    """The 80 categories of COCO with words of our own choice (chair_objects.yaml)."""
    return read_objects(_COCO, "coco")


def vocabulary_objects(vocabulary: Vocabulary, extra: Iterable[Term] = ()) -> ObjectTable:
    """The professional terms of a domain; generic and vague names are no objects. Raises as TermMatcher does."""
    matcher = TermMatcher(vocabulary, extra)
    meaning = [entry.name if entry.level == "professional" else "" for entry in matcher.entries]
    return ObjectTable("vocabulary", matcher, meaning)


def read_objects(path: str | Path, name: str | None = None) -> ObjectTable:
    """Read a table of objects from a YAML or JSON file; docs/methods/chair.md describes it.

    Raises:
        DataError: names the file, the line and the key: not YAML, an unknown key, a value of the wrong kind, an object
            given twice, one word in two places, or no objects.
    """
    path = Path(path)
    objects, ignored, attached = _read_table(path)
    places = _places(path, objects, ignored)
    terms: list[Term] = []
    for object, words in objects.items():
        own = [word for word in dict.fromkeys((object, *words)) if places[tokens(word)] == object]
        phrases = [f"{before} {word}" for before, owners in attached.items() if object in owners for word in own]
        own += [phrase for phrase in dict.fromkeys(phrases) if tokens(phrase) not in places]
        terms.append(Term(own[0], aliases=tuple(own[1:])))
    if ignored:
        terms.append(Term(ignored[0], aliases=tuple(ignored[1:]), level="vague"))
    try:
        matcher = TermMatcher(Vocabulary({str(i): term for i, term in enumerate(terms)}))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return ObjectTable(name or path.stem, matcher, [*objects, ""][: len(terms)])


def _places(path: Path, objects: Mapping[str, Sequence[str]], ignored: Sequence[str]) -> dict[tuple[str, ...], str]:
    """What each written word stands for: an object, or "" when it is ignored (as an object's own name may be)."""
    places: dict[tuple[str, ...], str] = {tokens(phrase): "" for phrase in ignored}
    for object, words in objects.items():
        for word in words if tokens(object) in places else (object, *words):
            form = tokens(word)
            if places.setdefault(form, object) != object:
                other = places[form]
                where = f'both "{other}" and "{object}"' if other else f'"{object}" and to what is ignored'
                raise DataError(f'{path}: the word "{word}" belongs to {where}; keep it in one place')
        if object not in places.values():
            raise DataError(f'{path}: the name "{object}" is ignored and has no other words; give it some')
    return places


def _read_table(path: Path) -> tuple[dict[str, list[str]], list[str], dict[str, list[str]]]:
    """(objects with their words, ignored phrases, attached words with their objects) of a file."""
    import yaml

    try:
        root = compose_yaml(read_text(path))
    except (yaml.YAMLError, RecursionError) as error:
        raise DataError(f"{path}: not valid YAML or JSON: {error}") from error
    parts = _mapping(path, root, "the file") if root is not None else {}
    for key in parts:
        if key not in _KEYS:
            raise DataError(f'{path}: unknown key "{key}"{nearest(key, _KEYS)}; known are {", ".join(_KEYS)}')
    objects = {
        object: _words(path, words, f'"{object}"')
        for object, words in _mapping(path, parts.get("objects"), '"objects"').items()
    }
    if not objects:
        raise DataError(f'{path}: has no objects; list them with their words, such as "objects: {{dog: [puppy]}}"')
    ignored = list(dict.fromkeys(_words(path, parts.get("ignore"), '"ignore"')))
    attached = {
        word: _words(path, owners, f'"attached" {word}')
        for word, owners in _mapping(path, parts.get("attached"), '"attached"').items()
    }
    for word, owners in attached.items():
        for owner in owners:
            if owner not in objects:
                raise DataError(f'{path}: "attached" {word}: "{owner}" is no object{nearest(owner, objects)}')
    return objects, ignored, attached


def _mapping(path: Path, node: Any, what: str) -> dict[str, Any]:
    if node is None or node.tag == _NULL:
        return {}
    if node.id != "mapping":
        raise DataError(f"{path}:{node.start_mark.line + 1}: {what} must be a mapping, such as {{dog: [puppy]}}")
    found: dict[str, Any] = {}
    for key, value in node.value:
        name = _word(path, key, f"each key of {what}")
        if name in found:
            raise DataError(f'{path}:{key.start_mark.line + 1}: "{name}" is given twice; merge the two entries')
        found[name] = value
    return found


def _words(path: Path, node: Any, what: str) -> list[str]:
    if node is None or node.tag == _NULL:
        return []
    if node.id != "sequence":
        raise DataError(f"{path}:{node.start_mark.line + 1}: {what} must be a list of words, such as [puppy, hound]")
    return [_word(path, each, f"each word of {what}") for each in node.value]


def _word(path: Path, node: Any, what: str) -> str:
    """The text of a scalar just as it is written: `no` is a word and no truth value."""
    if node.id != "scalar" or node.tag == _NULL or not any(map(str.isalnum, node.value)):
        raise DataError(f"{path}:{node.start_mark.line + 1}: {what} must be text with letters or digits")
    return str(node.value.strip())
