"""What can be seen of a caption's language without understanding it: flow, known words, ending, plainness, freshness.

Each is a number from 0 to 1 whose limits come from texts that the language model did not learn: 1 is what most good
texts reach, 0 what the same texts get when they are spoiled.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capwright.scorers.base import Item
from capwright.scorers.fluency._trigram_model import END, START, UNKNOWN, Floats, Ints, LanguageModel, learn
from capwright.scorers.fluency.length import split_sentences
from capwright.text.tokenizers import get_tokenizer
from capwright.types import NO_IMAGE, Sample

#: The columns of `Checks.measure`.
CHECKS = ("flow", "known", "ending", "plain", "fresh")

_MARKED = re.compile(r"[.!?…。！？][\"'”’)\]]*$")
#: Marks that stand between the entries of lists.
_SEPARATOR = re.compile(r"[,;:|/•·*\n、，；]|(?:^|(?<=\s))[-–—](?=\s)")
#: References that end with a mark, from which on captions have to.
_MOSTLY = 0.95
#: Texts that limits are taken from.
_MOST_HELD_OUT = 2000
#: How far above its limit the share of repeated word pairs is worth nothing, and that of separators.
_TOO_REPEATED, _TOO_LISTED = 0.4, 0.3
#: Pairs of words among which repetition is looked for.
_WINDOW = 20
#: Nats that one word can earn at most, so that words which fit very well do not make up for those that do not fit.
_MOST_GAIN = 2.0
#: A quarter of new words is always fine: names are what captions are for. So far above the limit nothing is.
_FINE_NEW, _TOO_NEW = 0.25, 0.5
_NOWHERE = Sample("", NO_IMAGE)


@dataclass(frozen=True)
class Limits:
    """What 0 and 1 mean, from texts that the model did not learn.

    Attributes:
        flow, ending: (value of 0, value of 1), in nats.
        common: share of common words from which on a caption is no list.
        separators: separators a word up to which it is none.
        repeated: share of repeated word pairs, see `_repeated`, up to which a caption is fresh.
        new: share of words that the model did not learn up to which a caption is no word salad.
        marked: whether a text has to end with a mark.
    """

    flow: tuple[float, float]
    ending: tuple[float, float]
    common: float
    separators: float
    repeated: float
    new: float
    marked: bool


@dataclass(frozen=True)
class _Read:
    """Texts as the model sees them.

    Attributes:
        numbers: int64 [T], the words of all sentences, each between `START` and `END`.
        places: int64 [E], where in it words and ends of sentences are.
        gains: float64 [E], for each of these how much likelier it is here than anywhere.
        owner: int64 [E], which text it is of.
        is_end: bool [E], whether it is the end of a sentence.
        common, separators, repeated, new: float64 [N], see `Limits`.
        finished: bool [N], False for a text that was cut off.
        marked: bool [N], whether the text ends with a mark.
    """

    numbers: Ints
    places: Ints
    gains: Floats
    owner: Ints
    is_end: NDArray[np.bool_]
    common: Floats
    separators: Floats
    repeated: Floats
    new: Floats
    finished: NDArray[np.bool_]
    marked: NDArray[np.bool_]

    def flow(self) -> Floats:
        """Mean gain of the words of each text [N], each at most `_MOST_GAIN`; NaN for a text without words."""
        said = ~self.is_end
        return _means(np.minimum(self.gains[said], _MOST_GAIN), self.owner[said], len(self.marked))


@dataclass(frozen=True)
class Checks:
    """What was learned from good texts; made by `learn_checks`.

    Attributes:
        model: which word follows two others.
        common: the most frequent words, which make up half of all text.
        limits: what 0 and 1 mean.
        tokenizer: a name that `tokenizers.get_tokenizer` knows.
    """

    model: LanguageModel
    common: frozenset[str]
    limits: Limits
    tokenizer: str

    def measure(self, items: Sequence[Item]) -> Floats:
        """The checks [N, 5] of captions, each from 0 to 1, in the order of `CHECKS`; all 0 for one without words.

        flow: how well each word fits those before it. known: it is made of words that good texts use. ending:
        sentences end where sentences can, the last one was not cut off. plain: it is not a list. fresh: it does not
        repeat itself.
        """
        read = _read(items, self.model, self.common, self.tokenizer)
        limits, size = self.limits, len(items)
        flow = read.flow()
        ends = _between(read.gains[read.is_end], *limits.ending)
        owner = read.owner[read.is_end]
        broken = ~read.finished | (limits.marked & ~read.marked)
        last = np.append(owner[1:] != owner[:-1], True)[: len(owner)]
        ends[last & broken[owner]] = 0.0
        ending = np.nan_to_num(_means(ends, owner, size))
        full = read.common / limits.common if limits.common > 0 else np.ones(size)
        single = 1 - (read.separators - limits.separators) / _TOO_LISTED
        plain = np.clip(np.minimum(full, single), 0.0, 1.0)
        fresh = np.clip(1 - (read.repeated - limits.repeated) / _TOO_REPEATED, 0.0, 1.0)
        known = np.clip(1 - (read.new - limits.new) / _TOO_NEW, 0.0, 1.0)
        table = np.column_stack((_between(flow, *limits.flow), known, ending, plain, fresh))
        table[np.isnan(flow)] = 0.0
        return table

    def explain(self, item: Item) -> dict[str, Any]:
        """The checks of one caption by name, and "odd": the word that fits worst and up to two before it."""
        checks = dict(zip(CHECKS, self.measure([item])[0].round(4).tolist()))
        read = _read([item], self.model, self.common, self.tokenizer)
        if not len(read.gains):
            return {**checks, "odd": ""}
        sentences = get_tokenizer(self.tokenizer)(split_sentences(item.caption.strip()))
        words = [word for sentence in sentences if sentence for word in (*sentence, "")]
        worst = int(np.argmin(np.where(read.is_end, np.inf, read.gains)))
        first = next((i + 1 for i in range(worst - 1, max(-1, worst - 3), -1) if not words[i]), max(0, worst - 2))
        return {**checks, "odd": " ".join(words[first : worst + 1])}


def learn_checks(texts: Sequence[Sequence[str]], tokenizer: str) -> Checks:
    """Learn from texts in groups, those of an image together.

    A fifth of the groups, at most 2,000 texts, chosen by the digest of their content, gives the limits; the model
    learns the others. The order of groups does not matter. Raises ValueError when one of the two parts has no words.
    """
    groups = sorted(texts, key=_digest)
    held = max(1, len(groups) // 5)
    good = [text for group in groups[:held] for text in group][:_MOST_HELD_OUT]
    learned = [text for group in groups[held:] for text in group]
    cut = get_tokenizer(tokenizer)
    sentences = cut([sentence for text in learned for sentence in split_sentences(text)])
    model = learn(sentences)
    common = _common_words(sentences)
    read = _read([Item(_NOWHERE, text) for text in good], model, common, tokenizer)
    flow = read.flow()
    if np.isnan(flow).all():
        raise ValueError("there is no text with words beside those that are learned from")
    spoiled = [" ".join(_shuffled(words)) for words in cut(good) if words]
    shuffled = _read([Item(_NOWHERE, text) for text in spoiled], model, common, tokenizer).flow()
    limits = Limits(
        flow=_apart(np.nanmedian(shuffled), np.nanquantile(flow, 0.25)),
        ending=_apart(_cut_short(read, model), np.quantile(read.gains[read.is_end], 0.1)),
        common=float(np.quantile(read.common, 0.05)),
        separators=float(np.quantile(read.separators, 0.95)),
        repeated=float(np.quantile(read.repeated, 0.95)),
        new=max(_FINE_NEW, float(np.quantile(read.new, 0.95))),
        marked=bool(read.marked.mean() >= _MOSTLY),
    )
    return Checks(model, common, limits, tokenizer)


def _read(items: Sequence[Item], model: LanguageModel, common: frozenset[str], tokenizer: str) -> _Read:
    size = len(items)
    texts = [item.caption.strip() for item in items]
    parts = [split_sentences(text) for text in texts]
    coded = get_tokenizer(tokenizer).codes([sentence for each in parts for sentence in each])
    kept = coded.lengths > 0
    lengths = coded.lengths[kept]
    owner = np.repeat(np.arange(size), list(map(len, parts)))[kept]
    present, where = np.unique(coded.codes, return_inverse=True)
    names = [coded.words[code] for code in present.tolist()]
    # Sentences one after the other, each between START and END.
    first = np.cumsum(lengths + 2) - (lengths + 2)
    text = np.full(int((lengths + 2).sum()), END, dtype=np.int64)
    text[first] = START
    is_end = np.zeros(len(text), dtype=bool)
    is_end[first + lengths + 1] = True
    is_word = ~is_end & (text != START)
    text[is_word] = model.numbers(names)[where.reshape(-1)]
    events = np.flatnonzero(text != START)
    gains = model.gains(text[events - 2], text[events - 1], text[events])
    of_event = np.repeat(owner, lengths + 1)
    words = np.bincount(of_event[~is_end[events]], minlength=size)
    is_common = np.array([name in common for name in names], dtype=np.float64)[where.reshape(-1)]
    return _Read(
        text,
        events,
        gains,
        of_event,
        is_end[events],
        common=np.bincount(np.repeat(owner, lengths), weights=is_common, minlength=size) / np.maximum(words, 1),
        separators=np.array([len(_SEPARATOR.findall(text)) for text in texts]) / np.maximum(words, 1),
        repeated=_repeated(where.reshape(-1), np.repeat(owner, lengths), size),
        new=np.bincount(of_event[text[events] == UNKNOWN], minlength=size) / np.maximum(words, 1),
        finished=np.array([item.finish != "length" for item in items], dtype=bool),
        marked=np.array([_MARKED.search(text) is not None for text in texts], dtype=bool),
    )


def _repeated(words: Ints, owner: Ints, size: int) -> Floats:
    """How often each text [N] repeats itself where it does so most.

    The share of pairs of neighboring words that it has said before, in the `_WINDOW` pairs in a row that have most of
    them, or in all where there are fewer; so a long text does not hide a loop. `words` [T] are numbers of words, and
    `owner` [T] is whose they are.
    """
    same = owner[1:] == owner[:-1]
    pair = (words[:-1] * (int(words.max(initial=0)) + 1) + words[1:])[same]
    whose = owner[1:][same]
    order = np.lexsort((pair, whose))
    again = np.zeros(len(pair), dtype=np.int64)
    again[order[1:]] = (pair[order[1:]] == pair[order[:-1]]) & (whose[order[1:]] == whose[order[:-1]])
    sums = np.concatenate(([0], np.cumsum(again)))
    count = np.bincount(whose, minlength=size)
    begin = (np.cumsum(count) - count)[whose]
    ends = np.arange(1, len(pair) + 1)
    most = np.zeros(size, dtype=np.int64)
    np.maximum.at(most, whose, sums[ends] - sums[np.maximum(begin, ends - _WINDOW)])
    return most / np.clip(count, 1, _WINDOW)


def _cut_short(read: _Read, model: LanguageModel) -> float:
    """How much likelier an end is, in nats, where sentences do not end: median over all words but their last.

    Infinite where every sentence is a single word.
    """
    places = read.places[~read.is_end]
    places = places[read.numbers[places + 1] != END]
    ends = np.full(len(places), END)
    if not len(places):
        return np.inf
    return float(np.median(model.gains(read.numbers[places - 1], read.numbers[places], ends)))


def _common_words(sentences: Sequence[Sequence[str]]) -> frozenset[str]:
    """The most frequent words, as many as make up half of all text; of equally frequent ones the first by alphabet."""
    counts = Counter(word for sentence in sentences for word in sentence)
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    said = np.cumsum([counts[word] for word in ranked])
    return frozenset(ranked[: int(np.searchsorted(said, said[-1] / 2)) + 1])


def _shuffled(words: Sequence[str]) -> list[str]:
    seed = int.from_bytes(_digest(words), "big")
    return [words[i] for i in np.random.default_rng(seed).permutation(len(words))]


def _digest(texts: Sequence[str]) -> bytes:
    return hashlib.blake2b("\n".join(texts).encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _means(values: Floats, owner: Ints, size: int) -> Floats:
    """Means [N] of values by owner, NaN for one without any; added up one by one, so the batch does not matter."""
    count = np.bincount(owner, minlength=size)
    total = np.bincount(owner, weights=values, minlength=size)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _between(values: Floats, low: float, high: float) -> Floats:
    """0 at `low`, 1 at `high`, straight between them, never outside."""
    return np.clip((values - low) / (high - low), 0.0, 1.0)


def _apart(low: float, high: float) -> tuple[float, float]:
    """Two limits at least 0.1 nats apart, for texts whose order says nothing."""
    return float(min(low, high - 0.1)), float(high)
