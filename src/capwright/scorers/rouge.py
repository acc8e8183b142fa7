"""ROUGE-L (Lin, ACL workshop 2004, W04-1013) as COCO captions are scored with it: the longest common subsequence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capwright.scorers.base import (
    SCORED,
    Context,
    Corpus,
    Item,
    ScorerError,
    ScorerSpec,
    Stats,
    fingerprint,
    item_status,
    ratio,
    write_signature,
)
from capwright.scorers.ngrams import count_references
from capwright.scorers.tokens import get_tokenizer

_BETA = 1.2


@dataclass(frozen=True)
class ROUGELContext(Context):
    """How many references samples have ("5..7"); no number depends on it."""

    references: str


class ROUGEL:
    """The scorer `rougeL`: one output, from 0 to 1; the score of a corpus is the mean over captions.

    With P the largest share of a caption's words that is a common subsequence with a reference, and R the largest share
    of a reference's words (perhaps of another reference): (1 + b²) P R / (R + b² P), b = 1.2. A caption without words
    scores 1 against a reference without words, and 0 against others, as in the reference implementation.

    Args:
        tokenizer: a name that `tokens.get_tokenizer` knows.
    """

    def __init__(self, *, tokenizer: str = "ptb") -> None:
        self._tokenizer = get_tokenizer(tokenizer)
        self._spec = ScorerSpec(
            name="rougeL",
            version="1",
            outputs=("rougeL",),
            ranges={"rougeL": (0.0, 1.0)},
            needs=frozenset({"references"}),
        )

    @property
    def spec(self) -> ScorerSpec:
        """What the scorer is."""
        return self._spec

    def prepare(self, corpus: Corpus) -> ROUGELContext:
        """Count references, for the signature. Raises DataError when no sample has any."""
        references = count_references(corpus, "rougeL")
        return ROUGELContext("rougeL", fingerprint(["rougeL", self._tokenizer.name]), ("rougeL",), references)

    def stats(self, items: Sequence[Item], context: Context) -> Stats:
        """One row (score, 1) an item; (0, 0), which `finalize` makes NaN, where the sample has no references."""
        rows = np.zeros((len(items), 2))
        status = tuple(item_status(item) for item in items)
        measured = [i for i, state in enumerate(status) if state in SCORED and items[i].sample.references]
        for index, (caption, references) in zip(measured, self._cut([items[index] for index in measured])):
            places = _places(caption)
            common = [_common(places, len(caption), reference) for reference in references]
            precision = max(common) / len(caption)
            recall = max(length / len(reference) for length, reference in zip(common, references))
            rows[index] = (_f(precision, recall), 1)
        return Stats(rows, np.arange(len(items)), status, (None,) * len(items))

    def finalize(self, summed: NDArray[np.float64]) -> NDArray[np.float64]:
        """[..., 2] -> [..., 1]: the mean; NaN without captions."""
        summed = np.asarray(summed, dtype=np.float64)
        return ratio(summed[..., :1], summed[..., 1:])

    def signature(self, context: Context) -> str:
        """`rougeL|beta:1.2|tok:ptb-py.1|ws:collapse|refs:5..7|v:1`."""
        if not isinstance(context, ROUGELContext):
            raise ScorerError("rougeL: needs a context made by its own prepare()")
        return write_signature(
            "rougeL",
            beta=_BETA,
            tok=self._tokenizer.name,
            ws="collapse",
            refs=context.references,
            v=self._spec.version,
        )

    def explain(self, items: Sequence[Item], context: Context) -> list[dict[str, Any] | None]:
        """For each caption {"reference": number, from 0, of the one it is most like, "words": the common subsequence}.

        Most like: the highest score against that reference alone, the first of equals. None where the sample has no
        references.
        """
        found: list[dict[str, Any] | None] = [None] * len(items)
        measured = [i for i, item in enumerate(items) if item_status(item) in SCORED and item.sample.references]
        for index, (caption, references) in zip(measured, self._cut([items[index] for index in measured])):
            places = _places(caption)
            common = [_common(places, len(caption), reference) for reference in references]
            alone = [_f(n / len(caption), n / len(reference)) for n, reference in zip(common, references)]
            best = alone.index(max(alone))
            words = [word for word in _subsequence(caption, references[best]) if word]
            found[index] = {"reference": best, "words": words}
        return found

    def _cut(self, items: Sequence[Item]) -> list[tuple[list[str], list[list[str]]]]:
        """Tokens of each caption and of its references; without words, one empty word, as "".split(" ")."""
        texts = [text for item in items for text in (item.caption, *item.sample.references)]
        tokens = iter([words or [""] for words in self._tokenizer(texts)])
        return [(next(tokens), [next(tokens) for _ in item.sample.references]) for item in items]


def _f(precision: float, recall: float) -> float:
    if precision == 0 or recall == 0:
        return 0.0
    return (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision)


def _places(words: Sequence[str]) -> dict[str, int]:
    """For each word the places where it stands, as bits."""
    places: dict[str, int] = {}
    bit = 1
    for word in words:
        places[word] = places.get(word, 0) | bit
        bit <<= 1
    return places


def _common(places: dict[str, int], size: int, other: Sequence[str]) -> int:
    """Length of the longest common subsequence of `size` words with these places, and others.

    A row of the usual table as one whole number: bit i is 0 where the length grows at word i (Hyyro 2004, "Bit-parallel
    LCS-length computation revisited"). A word takes one addition, however long the caption is.
    """
    full = (1 << size) - 1
    row = full
    for word in other:
        here = row & places.get(word, 0)
        if here:
            row = ((row + here) | (row - here)) & full
    return size - row.bit_count()


def _subsequence(one: Sequence[str], other: Sequence[str]) -> list[str]:
    """The words of a longest common subsequence; of several as long, the one that begins first in `one`."""
    length = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i in range(len(one) - 1, -1, -1):
        for j in range(len(other) - 1, -1, -1):
            same = one[i] == other[j]
            length[i][j] = length[i + 1][j + 1] + 1 if same else max(length[i + 1][j], length[i][j + 1])
    words = []
    i = j = 0
    while length[i][j]:
        if one[i] == other[j]:
            words.append(one[i])
            i, j = i + 1, j + 1
        elif length[i][j + 1] == length[i][j]:
            j += 1
        else:
            i += 1
    return words
