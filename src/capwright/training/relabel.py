"""What a caption should have said: annotated names in place of its vague and wrong words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from capwright.text.plurals import plural_phrases, singulars_of
from capwright.text.term_matching import TermMatcher
from capwright.types import Sample, Term, Vocabulary


def missed_terms(sample: Sample, spans: Sequence[Any]) -> list[Term]:
    """The professional names a sample is annotated with that no span says."""
    said = {span.term for span in spans if span.status == "right"}
    return [term for term in sample.terms if term.level == "professional" and term.name not in said]


class Relabeler:
    """Puts names into captions, by rules and without a model.

    A word for a kind, or a wrong name of that kind, becomes the missed name of the kind; then a word for anything
    ("toy") becomes the one name that is left. Where several could be meant nothing is replaced: a guess would teach
    to confuse them. What the caption does not mention at all is not added. Plurals stay plurals; "a" becomes "an" where
    needed. Words are not weighed: of "two toys" one name is made, and a word for a kind in another name ("the block
    corner") is taken for the kind; read some of what it makes of your captions before you learn from it.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._table = TermMatcher(vocabulary)

    def __call__(self, text: str, spans: Sequence[Any], sample: Sample) -> str | None:
        """The caption with names of the sample in it, or None where nothing can be replaced.

        Args:
            spans: the names in the text, as `Rewards.spans` or the scorer `tts` finds them.
        """
        missed = missed_terms(sample, spans)
        chosen: dict[int, Term] = {}
        kinds = [self._kind_of(span) for span in spans]
        for kind, places in Counter(kind for kind in kinds if kind).items():
            names = [term for term in missed if self._kind(term.category) == kind]
            if places == len(names) == 1 and _fits(text, spans[kinds.index(kind)], names[0]):
                chosen[kinds.index(kind)] = names[0]
        left = [term for term in missed if term not in chosen.values()]
        vague = [i for i, span in enumerate(spans) if span.status == "vague"]
        if len(left) == len(vague) == 1 and _fits(text, spans[vague[0]], left[0]):
            chosen[vague[0]] = left[0]
        if not chosen:
            return None
        for i in sorted(chosen, reverse=True):
            text = _replaced(text, spans[i], chosen[i])
        return text

    def _kind_of(self, span: Any) -> str:
        """The kind that a generic word says, or that a wrong name belongs to; "" for all others."""
        if span.status == "generic":
            return self._kind(span.term)
        term = self._vocabulary.get(span.term) if span.status == "wrong" else None
        return self._kind(term.category) if term else ""

    def _kind(self, category: str) -> str:
        """A kind by one name, however the vocabulary writes it: "boards", "Board" and "board" are one."""
        entry = self._table.lookup(category) if category else None
        return category if entry is None else self._table.entries[entry].name


def _fits(text: str, span: Any, term: Term) -> bool:
    """Whether a name can stand where a word stands: a set ("maracas") not where one thing is meant ("a toy")."""
    return term.name not in term.plurals or bool(singulars_of(text[span.start : span.end].split()[-1].lower()))


def _replaced(text: str, span: Any, term: Term) -> str:
    before, old, after = text[: span.start], text[span.start : span.end], text[span.end :]
    name = term.name
    if singulars_of(old.split()[-1].lower()) and name not in term.plurals:  # "boards"; a set is plural already
        name = term.plurals[0] if term.plurals else " ".join(plural_phrases(tuple(name.split()))[0])
    if article := re.search(r"(?i)\b(an?)(\s+)$", before):
        new = "an" if re.match(r"(?i)[aeio]|u(?!ni|se|su)|hour|honest|heir", name) else "a"
        new = new.capitalize() if article[1][0].isupper() else new
        before = before[: article.start()] + new + article[2]
    if old[0].isupper() and name[0].islower():
        name = name[0].upper() + name[1:]
    return before + name + after
