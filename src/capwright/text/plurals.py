"""English plurals, generously: every form that a careful writer might use."""

from __future__ import annotations

from capwright.text.tables import read_tables

_TABLES = read_tables("capwright.text", "plurals.yaml")
_IRREGULAR = {word: tuple(forms) for word, forms in _TABLES["irregular"].items()}
_SUFFIXES, _NOT_MAN, _F_TO_VES, _F_EITHER = (
    tuple(_TABLES[name]) for name in ("suffixes", "not_man", "f_to_ves", "f_either")
)


def plurals_of(word: str) -> tuple[str, ...]:
    """Plural forms of one lower-case English word, most usual first.

    >>> plurals_of("shelf"), plurals_of("puppy"), plurals_of("box"), plurals_of("domino")
    (('shelves',), ('puppies',), ('boxes',), ('dominos', 'dominoes'))
    """
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    for ending in _SUFFIXES:
        if word.endswith(ending) and len(word) > len(ending):
            return tuple(word[: -len(ending)] + form for form in _IRREGULAR[ending])
    if word.endswith("man") and not word.endswith(_NOT_MAN):
        return (word[:-3] + "men",)
    if word.endswith(_F_TO_VES):
        return (word.removesuffix("e")[:-1] + "ves",)
    if word.endswith(_F_EITHER):
        return (word + "s", word[:-1] + "ves")
    if word.endswith("sis"):
        return (word[:-2] + "es",)
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return (word + "es",)
    if word.endswith("y") and (word[-2:-1] not in ("a", "e", "i", "o", "u", "") or word.endswith("quy")):
        return (word[:-1] + "ies",)
    if word.endswith("o") and word[-2:-1] not in ("a", "e", "i", "o", "u", ""):
        return (word + "s", word + "es")
    return (word + "s",)


def singulars_of(word: str) -> tuple[str, ...]:
    """Words whose plural the given lower-case English word is; empty when it does not look like a plural.

    >>> singulars_of("blocks"), singulars_of("boxes"), singulars_of("glass")
    (('block',), ('box', 'boxe'), ())
    """
    for singular, forms in _IRREGULAR.items():
        if word in forms and word != singular:
            return (singular,)
    if not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return ()
    candidates = [word[:-3] + "y" if word.endswith("ies") else "", word[:-2] if word.endswith("es") else "", word[:-1]]
    if word.endswith("ves"):
        candidates += [word[:-3] + "f", word[:-3] + "fe"]
    return tuple(c for c in candidates if len(c) > 1 and word in plurals_of(c))


def plural_phrases(tokens: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Plurals of a name given as tokens: its last word, or the word before "of" ("box of blocks")."""
    spots = [len(tokens) - 1]
    if "of" in tokens[1:-1]:
        spots.insert(0, tokens.index("of", 1) - 1)
    return [(*tokens[:spot], form, *tokens[spot + 1 :]) for spot in spots for form in plurals_of(tokens[spot])]


def singular_phrases(tokens: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Singulars of a name given as tokens, changing its last word."""
    return [(*tokens[:-1], form) for form in singulars_of(tokens[-1])]
