"""What n-gram scores saw in a caption: its words that stand in a reference, by the longest run they are part of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from capwright.text.normalize import Folded

#: The longest n-gram of BLEU and CIDEr.
LONGEST = 4


@dataclass(frozen=True, slots=True)
class NgramMark:
    """text[start:end] is in a reference; `length` is the longest n-gram its words are part of, from 1 to `LONGEST`."""

    start: int
    end: int
    length: int


def ngram_marks(caption: str, references: Iterable[str]) -> list[NgramMark]:
    """Mark the words of a caption that a reference has too, in the order of the text, without overlaps.

    Words are compared folded (case, width, apostrophes) and without punctuation. Neighbors share a mark when they have
    the same length and stand side by side in a reference. This is an image of the evidence, not the count itself:
    scorers cut words with their own tokenizer, and clip how often one may count.

    >>> [(m.start, m.end, m.length) for m in ngram_marks("A dog, on a sofa", ["a dog on grass", "a red sofa"])]
    [(0, 9, 3), (10, 11, 1), (12, 16, 1)]
    """
    words, spans = _words(caption)
    found: set[tuple[str, ...]] = set()
    for reference in references:
        others, _ = _words(reference)
        found.update(tuple(others[i : i + n]) for n in range(1, LONGEST + 1) for i in range(len(others) - n + 1))
    lengths = [0] * len(words)
    joined = [False] * len(words)  # with the word before it
    for n in range(1, LONGEST + 1):
        for first in range(len(words) - n + 1):
            if tuple(words[first : first + n]) in found:
                lengths[first : first + n] = [n] * n
                joined[first + 1 : first + n] = [True] * (n - 1)
    marks: list[NgramMark] = []
    for place, (length, (start, end)) in enumerate(zip(lengths, spans)):
        if length and joined[place] and lengths[place - 1] == length:
            marks[-1] = NgramMark(marks[-1].start, end, length)
        elif length:
            marks.append(NgramMark(start, end, length))
    return marks


def shade(text: str, marks: Sequence[NgramMark], start: int = 0) -> Markup:
    """A piece of a caption that begins at character `start`, escaped, marked parts in elements of class n1 to n4."""
    parts: list[Markup] = []
    place = start
    stop = start + len(text)
    for mark in marks:
        first, last = max(mark.start, start), min(mark.end, stop)
        if first >= last:
            continue
        parts.append(escape(text[place - start : first - start]))
        parts.append(Markup('<span class="n{}">{}</span>').format(mark.length, text[first - start : last - start]))
        place = last
    parts.append(escape(text[place - start :]))
    return Markup("").join(parts)


def _words(text: str) -> tuple[list[str], list[tuple[int, int]]]:
    folded = Folded(text)
    places = [place for place, token in enumerate(folded.tokens) if token and token[0].isalnum()]
    return [folded.tokens[place] for place in places], [folded.span(place, place + 1) for place in places]
