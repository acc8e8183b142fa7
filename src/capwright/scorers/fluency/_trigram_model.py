"""A small language model: which word follows two others, learned from captions by counting.

Interpolated Kneser-Ney smoothing of order 3 (Kneser and Ney, ICASSP 1995; the discount of Ney, Essen and Kneser 1994),
as arrays of numpy: a few million words are learned in seconds, and captions are looked up thousands a second.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capwright.arrays import Floats, Ints

#: Numbers that are no words: one that was not learned, and the two ends of a sentence.
UNKNOWN, START, END = 0, 1, 2
_FIRST_WORD = 3


@dataclass(frozen=True)
class Table:
    """Discounted probabilities of what follows contexts, and how much is left for the shorter context.

    Attributes:
        contexts: int64, sorted keys of the contexts that were seen.
        left: float64, for each context the probability that is handed to the shorter context.
        keys: int64, sorted keys (place of the context) * V + word of what was seen.
        shares: float64, for each of them its discounted probability.
    """

    contexts: Ints
    left: Floats
    keys: Ints
    shares: Floats

    def mix(self, contexts: Ints, words: Ints, size: int, shorter: Floats) -> Floats:
        """Probabilities [T] of words [T] after contexts [T], given those after the shorter contexts."""
        place = find(self.contexts, contexts)
        known = place >= 0
        at = find(self.keys, np.where(known, place, 0) * size + words)
        share = np.where(known & (at >= 0), self.shares[at], 0.0)
        return share + np.where(known, self.left[place], 1.0) * shorter


@dataclass(frozen=True)
class LanguageModel:
    """What was learned from sentences; made by `learn`. Words are whole numbers, see `numbers`.

    Attributes:
        words: word -> its number, 3 and up.
        frequency: float64 [V], how often a number comes among all words and ends; 0 for `START`. Sums to 1.
        single: float64 [V], probability of a word without any context. Sums to 1.
        pairs, triples: what follows one word, and two.
    """

    words: dict[str, int]
    frequency: Floats
    single: Floats
    pairs: Table
    triples: Table

    def numbers(self, words: Iterable[str]) -> Ints:
        """Numbers of words; `UNKNOWN` for those that were not learned."""
        return np.array([self.words.get(word, UNKNOWN) for word in words], dtype=np.int64)

    def probabilities(self, before: Ints, last: Ints, words: Ints) -> Floats:
        """P(word | before, last) for numbers of equal shape [T].

        Where `last` is `START` there is nothing before it, and `before` is not looked at.
        """
        size = len(self.single)
        after_one = self.pairs.mix(last, words, size, self.single[words])
        after_two = self.triples.mix(before * size + last, words, size, after_one)
        return np.where(last == START, after_one, after_two)

    def gains(self, before: Ints, last: Ints, words: Ints) -> Floats:
        """How much likelier a word is here than anywhere, in nats: log P(word | before, last) - log frequency.

        A rare word costs nothing for being rare, only for being in the wrong place (the ratio behind SLOR, Pauls and
        Klein, ACL 2012; Kann et al., arXiv 1809.08731).
        """
        return np.log(self.probabilities(before, last, words)) - np.log(self.frequency[words])


def learn(sentences: Sequence[Sequence[str]]) -> LanguageModel:
    """Learn from sentences, each a list of words; at least one must have a word. The order does not matter.

    The first time that a word is met, in the order of the digests of sentences, it is counted as unknown: new words
    come where other words came for the first time, such as names after a color. A word met once is thus not learned.
    """
    sentences = sorted((list(map(str, each)) for each in sentences if each), key=_digest)
    if not sentences:
        raise ValueError("there is no sentence to learn from")
    counts = Counter(word for sentence in sentences for word in sentence)
    words = {word: _FIRST_WORD + i for i, word in enumerate(sorted(w for w, n in counts.items() if n > 1))}
    met: set[str] = set()
    stream = [START]
    for sentence in sentences:
        for word in sentence:
            stream.append(words.get(word, UNKNOWN) if word in met else UNKNOWN)
            met.add(word)
        stream += (END, START)
    text = np.array(stream[:-1], dtype=np.int64)
    size = _FIRST_WORD + len(words)
    return _count(text, words, size)


def _count(text: Ints, words: dict[str, int], size: int) -> LanguageModel:
    """The model of sentences [T] that each begin with `START` and end with `END`."""
    start = text == START
    frequency = np.bincount(text[~start], minlength=size) / np.count_nonzero(~start)
    inside = np.flatnonzero(~start[1:]) + 1  # places of words that follow something
    pair_keys, pair_counts = np.unique(text[inside - 1] * size + text[inside], return_counts=True)
    third = inside[~start[inside - 1]]
    triple_context = text[third - 2] * size + text[third - 1]
    contexts, where = np.unique(triple_context, return_inverse=True)
    triple_keys, triple_counts = np.unique(where.reshape(-1) * size + text[third], return_counts=True)
    # Kneser-Ney: a shorter context counts after how many different words something came, not how often. Nothing comes
    # before the start of a sentence, so what follows it keeps its count.
    last = contexts[triple_keys // size] % size
    spread_keys, spread = np.unique(last * size + triple_keys % size, return_counts=True)
    first = pair_keys // size == START
    keys = np.concatenate((pair_keys[first], spread_keys))
    order = np.argsort(keys)
    pairs = _discount(keys[order], np.concatenate((pair_counts[first], spread))[order], size)
    kinds = np.bincount(pair_keys % size, minlength=size).astype(np.float64)
    discount = _discount_of(kinds[kinds > 0])
    left = discount * np.count_nonzero(kinds) / kinds.sum()
    single = np.maximum(kinds - discount, 0.0) / kinds.sum() + left / (size - 1)
    single[START] = 0.0
    triples = _discount(triple_keys, triple_counts, size, contexts)
    return LanguageModel(words, frequency, single, pairs, triples)


def _discount(keys: Ints, counts: Ints, size: int, contexts: Ints | None = None) -> Table:
    """The table of counts of sorted keys (context * V + word), or (place in `contexts` * V + word)."""
    if contexts is None:
        contexts, place = np.unique(keys // size, return_inverse=True)
        place = place.reshape(-1)
        keys = place * size + keys % size
    else:
        place = keys // size
    total = np.bincount(place, weights=counts, minlength=len(contexts))
    kinds = np.bincount(place, minlength=len(contexts))
    discount = _discount_of(counts)
    return Table(contexts, discount * kinds / total, keys, (counts - discount) / total[place])


def _discount_of(counts: NDArray[np.generic]) -> float:
    """n1 / (n1 + 2 n2), where n1 and n2 things were seen once and twice; within 0.1 and 0.9, for tiny corpora."""
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    return float(np.clip(once / (once + 2 * twice), 0.1, 0.9)) if once else 0.1


def find(keys: Ints, wanted: Ints) -> Ints:
    """Places of `wanted` in sorted `keys`, -1 where they are not."""
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    if not len(keys):
        return np.full(wanted.shape, -1)
    return np.where(keys[place] == wanted, place, -1)


def _digest(sentence: Sequence[str]) -> bytes:
    return hashlib.blake2b("\n".join(sentence).encode("utf-8", "surrogatepass"), digest_size=8).digest()
