"""Captions that say the same again: the sign of a captioner caught in a loop."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capwright.arrays import Ints
from capwright.scorers._words import WordScorer
from capwright.scorers.base import Context, Corpus, Item, ItemStats, ScorerSpec, ratio
from capwright.scorers.ngram.distinct import grow_ngrams, start_ngrams
from capwright.text.tokenizers import Coded

_LONGEST = 4
#: A caption loops when it says one and the same n-gram of `_LONGEST` words this often.
_LOOP = 3


class Repetition(WordScorer[Context]):
    """The scorer `repetition`: means over captions, lower is better.

        rep4 (headline), rep1, rep2, rep3: the share of a caption's n-grams that it has said before, in [0, 1];
            1 - different n-grams / n-grams (seq-rep-n of arXiv 1908.04319). 0 for a caption too short to have n-grams.
        run: tokens in the longest stretch that a caption says twice, without overlap. 0 when no word comes twice.
        loop: share of captions that say one 4-gram three times or more.

    The reward `fresh` is 1 - rep4 of a caption.

    Args:
        tokenizer: a name that `tokenizers.get_tokenizer` knows.
    """

    spec = ScorerSpec(
        name="repetition",
        outputs=("rep4", "rep1", "rep2", "rep3", "run", "loop"),
        ranges=dict.fromkeys(("rep4", "rep1", "rep2", "rep3", "loop"), (0.0, 1.0)) | {"run": (0.0, math.inf)},
        higher_is_better=False,
        rewards=("fresh",),
        about="captions that say the same again",
        source="arXiv 1908.04319",
        page="diversity",
    )

    def prepare(self, corpus: Corpus) -> Context:
        """Nothing to learn; the corpus is not read."""
        return self.make_context(["repetition", self._cut.name])

    def measure(self, items: Sequence[Item], context: Context) -> Iterator[ItemStats]:
        """Rows (rep4, rep1, rep2, rep3, run, loop, 1)."""
        return map(ItemStats, self._measure([item.caption for item in items]))

    def explain(self, items: Sequence[Item], context: Context) -> list[dict[str, Any] | None]:
        """{"run": the longest stretch said twice, "times"} of each caption; None where no word comes twice."""
        found: list[dict[str, Any] | None] = []
        for item, row in zip(items, self.stats(items, context).rows):
            length = int(row[4])
            if length == 0:
                found.append(None)
                continue
            stretch, times = _most_said(self._cut([item.caption])[0], length)
            found.append({"run": " ".join(stretch), "times": times})
        return found

    def shape(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """The reward "fresh" [..., 1] of rows [..., 7]: 1 - rep4, in [0, 1]; NaN where unknown."""
        return 1 - ratio(rows[..., :1], rows[..., 6:7])

    def fields(self, context: Context) -> dict[str, object]:
        """`repetition|n:1..4|loop:4x3|tok:ptb-py.1|ws:collapse|v:1`."""
        return dict(n=f"1..{_LONGEST}", loop=f"{_LONGEST}x{_LOOP}", tok=self._cut.name, ws="collapse")

    def _measure(self, captions: Sequence[str]) -> NDArray[np.float64]:
        """[N, 7] rows of N captions."""
        coded = self._cut.codes(captions)
        size = len(captions)
        text = np.repeat(np.arange(size), coded.lengths)
        shares = np.zeros((size, _LONGEST))
        loop = np.zeros(size)
        ngrams = start_ngrams(coded, apart=True)
        for n in range(_LONGEST):
            ngrams = grow_ngrams(coded, ngrams)
            count = np.bincount(ngrams.gram)
            first = np.zeros_like(count)
            first[ngrams.gram[::-1]] = ngrams.position[::-1]
            said = np.bincount(text[ngrams.position], minlength=size)
            different = np.bincount(text[first], minlength=size)
            shares[:, n] = (said - different) / np.maximum(said, 1)
        loop[text[first[count >= _LOOP]]] = 1
        return np.column_stack((shares[:, 3], shares[:, :3], _longest_twice(coded, text), loop, np.ones(size)))


def _longest_twice(coded: Coded, text: Ints) -> Ints:
    """Tokens [N] in the longest stretch that each text says twice, without overlap; `text` [T] is whose a token is.

    What is said twice begins with shorter stretches that are, so lengths are found as binary numbers: stretches of 1,
    2, 4, ... tokens are numbered while any is said twice, then each text takes the parts that fit, longest first.
    """
    place = np.arange(len(text))
    end = np.cumsum(coded.lengths)[text]
    run = np.zeros(len(coded.lengths), dtype=np.int64)
    stretch = _number(text, coded.codes.astype(np.int64))
    parts: list[tuple[int, Ints]] = []
    size = 1
    while _said_twice(stretch, text, run + size).any():
        parts.append((size, stretch))
        fits = place + 2 * size <= end
        stretch = np.full(len(text), -1)
        stretch[fits] = _number(parts[-1][1][fits], parts[-1][1][place[fits] + size])
        size *= 2
    stretch = text
    for size, part in reversed(parts):
        next_to = place + run[text]
        fits = next_to + size <= end
        longer = np.full(len(text), -1)
        longer[fits] = _number(stretch[fits], part[next_to[fits]])
        better = _said_twice(longer, text, run + size)
        stretch = np.where(better[text], longer, stretch)
        run[better] += size
    return run


def _number(first: Ints, second: Ints) -> Ints:
    """Equal numbers for equal pairs."""
    key = first * (int(second.max(initial=0)) + 1) + second
    return np.unique(key, return_inverse=True)[1].reshape(-1)


def _said_twice(stretch: Ints, text: Ints, size: Ints) -> NDArray[np.bool_]:
    """Bool [N]: whether a text says a stretch of its `size` twice, without overlap; -1 is no stretch."""
    place = np.flatnonzero(stretch >= 0)
    number = stretch[place]
    first = np.zeros(int(number.max(initial=-1)) + 1, dtype=np.int64)
    last = first.copy()
    last[number] = place
    first[number[::-1]] = place[::-1]
    found = np.zeros(len(size), dtype=bool)
    found[text[first[last - first >= size[text[first]]]]] = True
    return found


def _most_said(tokens: Sequence[str], length: int) -> tuple[tuple[str, ...], int]:
    """The stretch of that many tokens that is said most often, without overlap, and how often."""
    times: Counter[tuple[str, ...]] = Counter()
    free: dict[tuple[str, ...], int] = {}
    for place in range(len(tokens) - length + 1):
        stretch = tuple(tokens[place : place + length])
        if place >= free.get(stretch, 0):
            times[stretch] += 1
            free[stretch] = place + length
    return times.most_common(1)[0]
