"""Names of the domain in captions, found as the TTS scorer finds them: a page marks exactly what was counted."""

from __future__ import annotations

from collections.abc import Sequence

from capwright.report.gallery import Mark, Matcher
from capwright.scorers import TTS, Corpus, Item
from capwright.types import Sample, Vocabulary


def term_matcher(samples: Sequence[Sample], vocabulary: Vocabulary | None) -> Matcher | None:
    """What finds the names of the vocabulary, or else of the samples, in captions, as the TTS scorer does.

    A term that a sample calls by an alias is marked with the name the sample uses. None without a name to look for.
    """
    if not vocabulary:
        vocabulary = Vocabulary({term.name: term for sample in samples for term in sample.terms})
    if not len(vocabulary):
        return None
    scorer = TTS()
    context = scorer.prepare(Corpus(samples, vocabulary))
    entries, lookup = context.matcher.entries, context.matcher.lookup

    def match(pairs: Sequence[tuple[Sample, str]]) -> list[list[Mark]]:
        found = scorer.stats([Item(sample, caption) for sample, caption in pairs], context).evidence
        marks = []
        for (sample, _), evidence in zip(pairs, found):
            own = {entries[entry].name: t.name for t in sample.terms if (entry := lookup(t.name)) is not None}
            spans = evidence["spans"] if evidence else ()
            marks.append([Mark(s.start, s.end, own.get(s.term, s.term), s.status) for s in spans])
        return marks

    return match
