"""Find the names of a domain in text: longest name first, exact about where each stood.

A table of surface forms is built once from a vocabulary; a caption is then read once, token by token, along a tree of
forms. The cost grows with the length of the caption, not with the size of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from capwright.text.digest import fingerprint
from capwright.text.normalize import Folded, is_latin_word, tokens
from capwright.text.plurals import plural_phrases, singular_phrases
from capwright.types import LEVELS, DataError, Term, Vocabulary

Form = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TermEntry:
    """A name in the table. `category` is the index of the entry that names its kind, -1 when there is none."""

    name: str
    level: str
    tier: str
    category: int


class Match(NamedTuple):
    """A name found: characters `start` to `end` of the caption as given, and the index of its entry."""

    start: int
    end: int
    entry: int


class TermMatcher:
    """The term matcher.

    Surface forms of a term are its name, aliases and plurals as written, and derived from those by English rules:
    plurals of its aliases, plurals of its name unless it lists its own, and singulars of names that are plural already
    (a name listed among its own plurals, and any generic or vague name). A form that someone wrote beats a derived one.
    Category words that are no term themselves are added as generic names.

    Args:
        vocabulary: all terms of the domain: a name is only found where no longer name of another term is.
        extra: terms used by samples; those the vocabulary does not have are added behind it.

    Raises:
        DataError: a name without letters, an unknown level, or one form that belongs to two terms.
    """

    def __init__(self, vocabulary: Vocabulary, extra: Iterable[Term] = ()) -> None:
        terms = list(vocabulary.values())
        self._forms: dict[Form, int] = {}
        self._index: dict[str, int] = {}
        for index in range(len(terms)):
            self._add_written(index, terms)
        self._add_derived(0, terms)
        own = len(terms)
        for term in extra:
            if self.lookup(term.name) is None:
                terms.append(term)
                self._add_written(len(terms) - 1, terms)
        self._add_derived(own, terms)
        self.entries: tuple[TermEntry, ...] = self._link_categories(terms)
        self._index = {entry.name: index for index, entry in reversed(list(enumerate(self.entries)))}
        self._tree = _grow(self._forms)

    def __len__(self) -> int:
        return len(self.entries)

    def lookup(self, name: str) -> int | None:
        """Index of the entry that a name or any of its forms belongs to; None when there is none."""
        entry = self._index.get(name)
        return self._forms.get(tokens(name)) if entry is None else entry

    @property
    def fingerprint(self) -> str:
        """Hex digest of everything that can change a match."""
        forms = sorted(["\x1f".join(form), index] for form, index in self._forms.items())
        entries = [[entry.name, entry.level, entry.tier, entry.category] for entry in self.entries]
        return fingerprint({"forms": forms, "entries": entries})

    def find(self, text: str) -> list[Match]:
        """Every name in a text, in order, none overlapping; among overlapping ones the longest (in tokens) wins, then
        the first. O(length of the text) for texts in which few names overlap."""
        folded = Folded(text)
        words = folded.tokens
        tree = self._tree
        if tree.keys().isdisjoint(words):
            return []
        found: list[tuple[int, int, int]] = []
        overlap = False
        reach = 0
        for first in [place for place, word in enumerate(words) if word in tree]:
            node = tree[words[first]]
            stop = first + 1
            while node is not None:
                entry, children = node
                if entry >= 0:
                    overlap = overlap or first < reach
                    reach = max(reach, stop)
                    found.append((first, stop, entry))
                if not children or stop >= len(words):
                    break
                node = children.get(words[stop])
                stop += 1
        if overlap:
            found = _longest_first(found)
        return [Match(*folded.span(first, stop), entry) for first, stop, entry in found]

    def _add_written(self, index: int, terms: list[Term]) -> None:
        term = terms[index]
        if term.level not in LEVELS:
            raise DataError(f"term {term.name!r}: level {term.level!r} is not one of {', '.join(LEVELS)}")
        for text in (term.name, *term.aliases, *term.plurals):
            form = tokens(text)
            if not form:
                raise DataError(f"term {term.name!r}: the name {text!r} has no letters or digits; remove or correct it")
            self._claim(form, index, terms)

    def _add_derived(self, first: int, terms: list[Term]) -> None:
        written = dict(self._forms)
        for index in range(first, len(terms)):
            for form in _derived(terms[index]):
                if form not in written:
                    self._claim(form, index, terms)

    def _claim(self, form: Form, index: int, terms: list[Term]) -> None:
        holder = self._forms.setdefault(form, index)
        if holder != index:
            raise DataError(
                f"the name {' '.join(form)!r} belongs to two terms, {terms[holder].name!r} and {terms[index].name!r}; "
                "remove it from the aliases or plurals of one of them in the vocabulary"
            )

    def _link_categories(self, terms: list[Term]) -> tuple[TermEntry, ...]:
        added: list[TermEntry] = []
        links: list[int] = []
        for index, term in enumerate(terms):
            form = tokens(term.category)
            if form and form not in self._forms:
                self._forms[form] = len(terms) + len(added)
                added.append(TermEntry(term.category, "generic", "", -1))
            link = self._forms[form] if form else -1
            links.append(-1 if link == index else link)
        for offset, entry in enumerate(added):
            for form in _derived(Term(entry.name, level="generic")):
                self._forms.setdefault(form, len(terms) + offset)
        own = [TermEntry(term.name, term.level, term.tier, link) for term, link in zip(terms, links)]
        return (*own, *added)


def _derived(term: Term) -> list[Form]:
    """Forms that English rules give."""
    own_plural = tokens(term.name) in {tokens(text) for text in term.plurals}
    derived: list[Form] = []
    for text in (term.name, *term.aliases):
        form = tokens(text)
        if not form or not is_latin_word(form[-1]):
            continue
        if text != term.name or not term.plurals:
            derived += plural_phrases(form)
        if own_plural or term.level != "professional":
            derived += singular_phrases(form)
    return derived


def _grow(forms: dict[Form, int]) -> dict[str, Any]:
    """A tree of forms: token -> (entry or -1, children)."""
    growing: dict[str, Any] = {}
    for form, index in forms.items():
        children = growing
        for token in form[:-1]:
            children = children.setdefault(token, [-1, {}])[1]
        children.setdefault(form[-1], [-1, {}])[0] = index
    return growing


def _longest_first(found: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    taken: set[int] = set()
    kept = []
    for first, stop, entry in sorted(found, key=lambda match: (match[0] - match[1], match[0])):
        if taken.isdisjoint(range(first, stop)):
            taken.update(range(first, stop))
            kept.append((first, stop, entry))
    return sorted(kept)
