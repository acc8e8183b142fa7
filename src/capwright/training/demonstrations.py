"""Captions beside the sampled ones in a group: what an expert says, and what the captioner should have said.

A group of sampled captions can only teach what is in it. A demonstration is one more member of the group, with its own
reward and so its own advantage: imitated as far as it is better than what was sampled, and not at all where it is not
(mixed-policy groups, LUFFY, arXiv 2504.14945).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from capwright.scorers.plurals import plural_phrases, singulars_of
from capwright.types import Sample, Term


def targets(sample: Sample, where: str) -> list[str]:
    """The captions of a sample that can be imitated: "references" or "meta.<key>" (a list of strings, or one)."""
    given = sample.references if where == "references" else sample.meta.get(where.removeprefix("meta."), ())
    found = [given] if isinstance(given, str) else list(given) if isinstance(given, (list, tuple)) else []
    return [text for text in found if isinstance(text, str) and text.strip()]


def missed_terms(sample: Sample, spans: Sequence[Any]) -> list[Term]:
    """The professional names a sample is annotated with that no span says."""
    said = {span.term for span in spans if span.status == "right"}
    return [term for term in sample.terms if term.level == "professional" and term.name not in said]


def relabel(text: str, spans: Sequence[Any], sample: Sample, vocabulary: Mapping[str, Term]) -> str | None:
    """A caption with annotated names in place of its vague and wrong words, or None where nothing can be replaced.

    A word for a kind, or a wrong name of that kind, becomes the missed name of the kind; then a word for anything
    ("toy") becomes the one name that is left. Where several could be meant nothing is replaced: a guess would teach
    to confuse them. What the caption does not mention at all is not added. Plurals stay plurals; "a" becomes "an" where
    needed.
    """
    missed = missed_terms(sample, spans)
    chosen: dict[int, Term] = {}
    kinds = [_kind(span, vocabulary) if span.status in ("generic", "wrong") else None for span in spans]
    for kind, places in Counter(kind for kind in kinds if kind).items():
        names = [term for term in missed if term.category == kind]
        if places == len(names) == 1:
            chosen[kinds.index(kind)] = names[0]
    left = [term for term in missed if term not in chosen.values()]
    vague = [i for i, span in enumerate(spans) if span.status == "vague"]
    if len(left) == len(vague) == 1:
        chosen[vague[0]] = left[0]
    if not chosen:
        return None
    for i in sorted(chosen, reverse=True):
        text = _replaced(text, spans[i], chosen[i], vocabulary)
    return text


def _kind(span: Any, vocabulary: Mapping[str, Term]) -> str | None:
    """The kind that a generic word says, or that a wrong name belongs to."""
    if span.status == "generic":
        return span.term
    term = vocabulary.get(span.term)
    return term.category or None if term else None


def _replaced(text: str, span: Any, term: Term, vocabulary: Mapping[str, Term]) -> str:
    before, old, after = text[: span.start], text[span.start : span.end], text[span.end :]
    name = term.name
    if singulars_of(old.split()[-1].lower()) and name not in term.plurals:  # "boards"; a set is plural already
        name = term.plurals[0] if term.plurals else " ".join(plural_phrases(tuple(name.split()))[0])
    if before.lower().endswith((" a ", " an ")) or before.lower() in ("a ", "an "):
        head = before.rstrip().rsplit(" ", 1)
        article = "an" if name[0] in "aeio" else "a"
        first = before.rstrip().split(" ")[-1]
        article = article.capitalize() if first[0].isupper() else article
        before = f"{head[0]} {article} " if len(head) == 2 else f"{article} "
    if not before.strip() or before.rstrip().endswith("."):
        name = name[0].upper() + name[1:]
    return before + name + after
