"""The kindergarten's vocabulary, its plurals, and which names stand for a set."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources

from capwright.data.vocabulary import read_vocabulary
from capwright.types import Term, Vocabulary

#: The word of a speaker who does not even name the kind.
VAGUE = "toy"


@lru_cache(maxsize=1)
def vocabulary() -> Vocabulary:
    """The 45 professional names in file order, then each category word (level "generic"), then "toy" ("vague")."""
    with resources.as_file(resources.files("capwright.scenes") / "vocabulary.yaml") as path:
        terms = dict(read_vocabulary(path))
    for category in dict.fromkeys(term.category for term in list(terms.values())):
        terms[category] = Term(name=category, plurals=(plural(category),), level="generic")
    terms[VAGUE] = Term(name=VAGUE, plurals=(plural(VAGUE),), level="vague")
    return Vocabulary(terms)


@lru_cache(maxsize=1)
def professional_names() -> tuple[str, ...]:
    """The professional names, in file order."""
    return tuple(name for name, term in vocabulary().items() if term.level == "professional")


@lru_cache(maxsize=1)
def categories() -> dict[str, tuple[str, ...]]:
    """Category word -> the names in it, in file order."""
    found: dict[str, list[str]] = {}
    for name in professional_names():
        found.setdefault(vocabulary()[name].category, []).append(name)
    return {category: tuple(names) for category, names in found.items()}


def is_set(name: str) -> bool:
    """Whether a name is a plural that stands for one set of pieces ("pattern blocks", "maracas").

    A set takes no article and is not counted: two sets side by side would look like a bigger one.
    """
    term = vocabulary()[name]
    return term.level == "professional" and term.plurals == (name,)


def plural(word: str) -> str:
    """The plural of a category word, an alias, or a name with regular plural; what is plural already stays."""
    if word.endswith(("ss", "x", "ch", "sh")):
        return word + "es"
    return word if word.endswith("s") else word + "s"


def plural_name(name: str) -> str:
    """The preferred plural of a professional name ("coin boxes", "maracas")."""
    plurals = vocabulary()[name].plurals
    return plurals[0] if plurals else plural(name)
