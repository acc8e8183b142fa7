"""In how many samples an n-gram is said: what CIDEr weighs n-grams by.

An n-gram that is in one sample weighs as much as one that is in none, so a table keeps those that are in two or more.
Every part of an n-gram is in at least as many samples, so a table that has "a red ball" has "a red" and "ball" too.
That makes it a tree: an n-gram is found from its first n - 1 words and its last word.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capwright.arrays import Ints, sort_keys
from capwright.scorers.base import Corpus
from capwright.scorers.ngram._ngrams import code_references
from capwright.text.tokenizers import Tokenizer


@dataclass(frozen=True, eq=False)
class IdfTable:
    """How many samples have an n-gram among their references.

    Attributes:
        samples: N, of how many samples the table was made.
        tokenizer: name of the tokenizer that cut them.
        words: word -> number, in alphabetical order; these are the 1-grams of the table.
        keys: for n = 1, 2, ...: int64, ascending: (number of the first n - 1 words) * len(words) + number of the last
            word. The place of a key is the number of its n-gram.
        counts: for n = 1, 2, ...: int64, the samples that have it, 2 or more.
        digest: hex SHA-256 of all of the above but the tokenizer: equal counts, equal digest.
    """

    samples: int
    tokenizer: str
    words: dict[str, int]
    keys: tuple[Ints, ...]
    counts: tuple[Ints, ...]
    digest: str

    @property
    def n(self) -> int:
        """Words in the longest n-grams that the table knows."""
        return len(self.keys)

    def numbers(self, words: Sequence[str]) -> Ints:
        """Numbers of words, -1 for those that are not in the table."""
        return np.fromiter((self.words.get(word, -1) for word in words), dtype=np.int64, count=len(words))

    def find(self, n: int, parent: Ints, last: Ints) -> Ints:
        """Numbers of n-grams from those of their first n - 1 words and of their last word; -1 where not in the table.

        A word is its own 1-gram: at n = 1 `parent` is not looked at.
        """
        if n == 1:
            return last
        return find_keys(self.keys[n - 1], len(self.words), parent, last)

    def weights(self, n: int, numbers: Ints) -> NDArray[np.float64]:
        """log(N) - log(samples that have the n-gram), where one that is not in the table (-1) counts as in 1 sample."""
        samples_with = np.append(self.counts[n - 1], 1)  # number -1 finds the last
        return (np.log(self.samples) - np.log(samples_with))[numbers]


def make_table(
    samples: int, tokenizer: str, words: dict[str, int], keys: Sequence[Ints], counts: Sequence[Ints]
) -> IdfTable:
    """An `IdfTable` with its digest."""
    digest = hashlib.sha256(f"{samples}\n".encode())
    digest.update("\n".join(words).encode("utf-8", "surrogatepass"))
    for array in (*keys, *counts):
        digest.update(b"\n" + array.astype("<i8").tobytes())
    return IdfTable(samples, tokenizer, words, tuple(keys), tuple(counts), digest.hexdigest())


def find_keys(keys: Ints, words: int, parent: Ints, last: Ints) -> Ints:
    """Places of `parent * words + last` in ascending keys; -1 where it is not, or one of the two is -1."""
    found = np.full(len(last), -1, dtype=np.int64)
    hopeful = np.flatnonzero((parent >= 0) & (last >= 0))
    if len(keys) and len(hopeful):
        wanted, order = sort_keys(parent[hopeful] * words + last[hopeful])  # in order they are found far faster
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        right = np.flatnonzero(keys[place] == wanted)
        found[hopeful[order[right]]] = place[right]
    return found


def count_samples(corpus: Corpus, tokenizer: Tokenizer, n: int = 4) -> IdfTable:
    """The table of the references of a corpus; N counts the samples that have references."""
    coded, owner = code_references(corpus, tokenizer)
    # A word that is nowhere stands after each text, so that no n-gram reaches from one into the next.
    text = np.repeat(np.arange(len(owner), dtype=np.int32), coded.lengths)
    codes = np.full(len(coded.codes) + len(owner), -1, dtype=np.int32)
    codes[np.arange(len(coded.codes)) + text] = coded.codes
    sample = np.repeat(owner, coded.lengths + 1)

    where = np.flatnonzero(codes >= 0)
    number, kept, counted = _in_two_samples(codes[where].astype(np.int64), sample, where)
    words = {coded.words[code]: place for place, code in enumerate(kept.tolist())}
    keys, counts, word = [np.arange(len(words))], [counted], number
    for length in range(2, n + 1):
        # An n-gram can only be in two samples when its two parts are.
        where = np.flatnonzero((number[:-1] >= 0) & (number[1:] >= 0))
        number, kept, counted = _in_two_samples(
            number[where].astype(np.int64) * len(words) + word[where + length - 1], sample, where
        )
        keys.append(kept)
        counts.append(counted)
    return make_table(int(owner[-1]) + 1 if len(owner) else 0, tokenizer.name, words, keys, counts)


def _in_two_samples(key: Ints, sample: NDArray[np.int32], where: Ints) -> tuple[NDArray[np.int32], Ints, Ints]:
    """Number the keys that are in two samples or more, in ascending order.

    `key` is of the places `where`, `sample` of all places. Returns the number at each place (-1 elsewhere), the keys by
    number, and the samples of each. Samples ascend and equal keys stay in order, so that the places of one key come out
    by sample.
    """
    key, order = sort_keys(key)
    where = where[order]
    by_sample = sample[where]
    new_key = np.ones(len(key), dtype=bool)
    new_key[1:] = key[1:] != key[:-1]
    new_sample = new_key.copy()
    new_sample[1:] |= by_sample[1:] != by_sample[:-1]
    group = np.cumsum(new_key, dtype=np.int32) - 1
    counts = np.bincount(group[np.flatnonzero(new_sample)])
    enough = counts >= 2
    number = np.full(len(sample), -1, dtype=np.int32)
    number[where] = np.where(enough, np.cumsum(enough, dtype=np.int32) - 1, -1)[group]
    return number, key[new_key][enough], counts[enough]
