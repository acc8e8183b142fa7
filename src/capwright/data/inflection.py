"""Names that stand in a text in another form than the vocabulary has: scorers know English plurals alone."""

from __future__ import annotations

import re

from capwright.types import Vocabulary

_WORD = re.compile(r"[^\W\d_]+")
#: What other languages put behind a noun, German above all ("Steckspielen"); -er makes other words of English ones.
_ENDINGS = ("e", "n", "en", "em", "ern", "nen", "se", "i")
_SHORTEST = 5  # letters of a name; shorter ones are the beginning of too many words


class OtherForms:
    """Looks for such names in texts.

    Attributes:
        found: form -> the name that it seems to be a form of.
        texts, looked_at: in how many texts, of how many.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        names = [name for term in vocabulary.values() for name in (term.name, *term.aliases, *term.plurals)]
        self._known = {word.casefold() for name in names for word in _WORD.findall(name)}
        self._names = {name.casefold(): name for name in names if len(name) >= _SHORTEST and _WORD.fullmatch(name)}
        self.found: dict[str, str] = {}
        self.texts = self.looked_at = 0

    def add(self, text: str) -> None:
        forms = {word: name for word in set(_WORD.findall(text)) if (name := self._name_of(word.casefold()))}
        self.found |= forms
        self.texts += bool(forms)
        self.looked_at += 1

    def _name_of(self, word: str) -> str:
        if word in self._known:
            return ""
        endings = (ending for ending in _ENDINGS if word.endswith(ending))
        return next((self._names[name] for e in endings if (name := word.removesuffix(e)) in self._names), "")

    def describe(self, what: str) -> str:
        """A warning about texts called `what`; "" where one in a hundred at most has such a form."""
        if not self.texts or self.texts * 100 <= self.looked_at:
            return ""
        form, name = next(iter(self.found.items()))
        return (
            f"{self.texts:,} of {self.looked_at:,} {what} seem to have a name of the vocabulary in another form, such "
            f'as "{form}" for "{name}"; only English plurals are known, so it counts as not named: list such forms as '
            "plurals of the term"
        )
