"""Counting n-grams of captions and of their references, for a whole batch at once.

Words are whole numbers (`tokenizers.Tokenizer.codes`). An n-gram gets its number from that of its first n - 1 words and
its last word, so that numbers stay small and two different n-grams never share one: nothing is hashed. Numbers are
given within the texts of one sample, because that is all that is ever compared.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capwright.arrays import Ints, ranges, sort_keys
from capwright.scorers.base import SCORED, Corpus, Item, item_status, references_of
from capwright.text.tokenizers import Coded, Tokenizer

_PART = 32_768

#: Words in the largest batch that is kept.
_KEPT = 400_000


@dataclass(frozen=True, slots=True)
class Batch:
    """Captions beside the references of their samples, as coded words.

    A text is a caption or a reference; those of one sample are together, captions first. Captions without a score
    (`item_status`) and captions whose sample has no references are not here.

    Attributes:
        status: of every item, as `item_status` gives it.
        item: int64 [N], for each text, which item its caption is; -1 for references.
        sample: int64 [N], for each text, the number of its sample within the batch; ascending.
        references: int64 [N], for each text, how many references its sample has.
        text: int32 [T], for each word, the text it is in; ascending.
        codes: int32 [T], the words.
        lengths: int64 [N], words of each text.
        words: the word of each code, in alphabetical order.
        made: what `levels` has counted.
    """

    status: tuple[str, ...]
    item: Ints
    sample: Ints
    references: Ints
    text: NDArray[np.int32]
    codes: NDArray[np.int32]
    lengths: Ints
    words: list[str]
    made: dict[int, tuple[Level, ...]] = field(default_factory=dict)

    @property
    def is_kept(self) -> bool:
        """Whether it is small enough to be kept for the next scorer: 6,000 COCO captions with their references."""
        return len(self.codes) <= _KEPT


@dataclass(frozen=True, slots=True)
class Level:
    """The n-grams of one length in a batch.

    A *gram* is an n-gram of one sample. A *run* is all its occurrences in one text. A *meeting* is a run of a caption
    and a run of the same gram in one of its references.

    Attributes:
        n: words in an n-gram.
        parent: int32 [grams], the gram of the level below that a gram begins with (at n = 1: the sample).
        last: int32 [grams], code of its last word.
        start: int32 [grams], where it first stands in `batch.codes`.
        gram, text, count: int32 [runs], what, where and how often; by gram, captions before references.
        caption, reference: int32 [meetings], the two runs; all meetings of a run of a caption stand together.
    """

    n: int
    parent: NDArray[np.int32]
    last: NDArray[np.int32]
    start: NDArray[np.int32]
    gram: NDArray[np.int32]
    text: NDArray[np.int32]
    count: NDArray[np.int32]
    caption: NDArray[np.int32]
    reference: NDArray[np.int32]


#: The last batch that was gathered, for the next scorer that measures the same items.
_last: tuple[Tokenizer, tuple[Item, ...], Batch] | None = None


def gather(items: Sequence[Item], tokenizer: Tokenizer) -> Batch:
    """Captions and references of a batch, each text cut once.

    Scorers measure the same items one after the other, so the last batch is kept, with its levels: up to 30 MB of it,
    larger ones are not.
    """
    global _last
    if _last is not None:
        by, same, batch = _last
        if by is tokenizer and len(same) == len(items) and all(map(operator.is_, same, items)):
            return batch
    batch = _gather(items, tokenizer)
    if batch.is_kept:
        _last = (tokenizer, tuple(items), batch)
    return batch


def _gather(items: Sequence[Item], tokenizer: Tokenizer) -> Batch:
    status = tuple(map(item_status, items))
    captions_of: dict[int, list[int]] = {}
    for index, (item, state) in enumerate(zip(items, status)):
        if state in SCORED and references_of(item.sample):
            captions_of.setdefault(id(item.sample), []).append(index)
    groups = captions_of.values()
    known = [references_of(items[group[0]].sample) for group in groups]
    texts: list[str] = []
    for group, meant in zip(groups, known):
        texts += [items[index].caption for index in group]
        texts += meant
    captions = np.array([len(group) for group in groups], dtype=np.int64)
    references = np.array([len(meant) for meant in known], dtype=np.int64)
    size = captions + references
    item_of = np.full(len(texts), -1)
    item_of[ranges(np.cumsum(size) - size, captions)] = list(chain.from_iterable(groups))
    coded = _cut(texts, tokenizer)
    return Batch(
        status=status,
        item=item_of,
        sample=np.repeat(np.arange(len(size)), size),
        references=np.repeat(references, size),
        text=np.repeat(np.arange(len(texts), dtype=np.int32), coded.lengths),
        codes=coded.codes,
        lengths=coded.lengths,
        words=coded.words,
    )


def levels(batch: Batch, n: int) -> Iterable[Level]:
    """The n-grams of 1, 2, ... n words."""
    if not batch.is_kept:
        return _levels(batch, n)
    if n not in batch.made:
        batch.made[n] = tuple(_levels(batch, n))
    return batch.made[n]


def _levels(batch: Batch, n: int) -> Iterator[Level]:
    is_caption = batch.item >= 0
    codes = batch.codes.astype(np.int64)
    position = np.arange(len(codes))
    left = np.cumsum(batch.lengths)[batch.text] - position  # words from here to the end of the text
    gram = batch.sample[batch.text]
    for length in range(1, n + 1):
        if length > 1:
            long_enough = np.flatnonzero(left[position] >= length)
            position, gram = position[long_enough], gram[long_enough]
        last = codes[position + length - 1]
        # Positions are in the order of samples and texts, and stay in it: runs come out by gram and text.
        key, order = sort_keys(gram * len(batch.words) + last)
        text = batch.text[position[order]]
        new_gram = np.ones(len(key), dtype=bool)
        np.not_equal(key[1:], key[:-1], out=new_gram[1:])
        new_run = new_gram.copy()
        new_run[1:] |= text[1:] != text[:-1]
        number = np.cumsum(new_gram, dtype=np.int32) - 1  # int32 is summed ten times as fast
        first = order[np.flatnonzero(new_gram)]
        run = np.flatnonzero(new_run)
        run_text, run_gram = text[run], number[run]
        caption, reference = _meetings(run_gram, is_caption[run_text], len(first))
        yield Level(
            n=length,
            parent=gram[first].astype(np.int32),
            last=last[first].astype(np.int32),
            start=position[first].astype(np.int32),
            gram=run_gram,
            text=run_text,
            count=np.diff(run, append=len(key)).astype(np.int32),
            caption=caption.astype(np.int32),
            reference=reference.astype(np.int32),
        )
        gram = np.empty(len(key), dtype=np.int64)
        gram[order] = number


def write_ngram(batch: Batch, level: Level, gram: int) -> str:
    """A gram in words."""
    start = int(level.start[gram])
    return " ".join(batch.words[code] for code in batch.codes[start : start + level.n].tolist())


def code_references(corpus: Corpus, tokenizer: Tokenizer) -> tuple[Coded, NDArray[np.int32]]:
    """All references of a corpus as words (codes in alphabetical order), and for each the number of its sample.

    Samples without references have no number.
    """
    texts: list[str] = []
    owner: list[int] = []
    number = 0
    for sample in corpus.samples:
        if known := references_of(sample):
            texts += known
            owner += [number] * len(known)
            number += 1
    # In parts, because what a tokenizer gives back takes far more room than codes.
    parts = [_cut(texts[start : start + _PART], tokenizer) for start in range(0, len(texts), _PART)]
    words = sorted(set().union(*(part.words for part in parts)))
    rank = {word: code for code, word in enumerate(words)}
    recoded = [np.array([rank[word] for word in part.words], dtype=np.int32)[part.codes] for part in parts]
    lengths = [part.lengths for part in parts]
    coded = Coded(_joined(recoded, np.int32), _joined(lengths, np.int64), words)
    return coded, np.array(owner, dtype=np.int32)


def _joined(parts: Sequence[NDArray[Any]], dtype: type) -> NDArray[Any]:
    return np.concatenate([np.zeros(0, dtype=dtype), *parts])


def _meetings(gram: NDArray[np.int32], is_caption: NDArray[np.bool_], grams: int) -> tuple[Ints, Ints]:
    """Every run of a caption with every run of the same gram in a reference."""
    runs = np.bincount(gram, minlength=grams)
    captions = np.flatnonzero(is_caption)
    gram = gram[captions]
    of_references = runs - np.bincount(gram, minlength=grams)
    first_reference = np.cumsum(runs) - of_references
    each = of_references[gram]
    return np.repeat(captions, each), ranges(first_reference[gram], each)


def _cut(texts: Sequence[str], tokenizer: Tokenizer) -> Coded:
    """Texts as words. A token with white space in it ("1 1/2" with a no-break space) is several words.

    That is how the reference implementations of BLEU and CIDEr read a tokenized caption; that of ROUGE-L does not.
    Codes are in alphabetical order, so that sums are made in an order that hangs on the text alone. Otherwise the last
    digit of a reward could depend on what was tokenized before it, and a resumed run would drift.
    """
    coded = tokenizer.codes(texts)
    used = np.flatnonzero(np.bincount(coded.codes, minlength=1))
    tokens = [coded.words[code] for code in used.tolist()]
    flat = " ".join(tokens).split()
    words = sorted(set(flat))
    rank = dict(zip(words, range(len(words))))
    of_token = np.zeros(len(coded.words) + 1, dtype=np.int32)
    if flat == tokens:
        of_token[used] = [rank[word] for word in tokens]
        return Coded(of_token[coded.codes], coded.lengths, words)
    size = np.zeros(len(coded.words), dtype=np.int64)
    size[used] = [len(token.split()) for token in tokens]
    start = np.cumsum(size) - size
    each = size[coded.codes]
    codes = np.array([rank[word] for word in flat], dtype=np.int32)[ranges(start[coded.codes], each)]
    before = np.concatenate([[0], np.cumsum(each)])
    end = np.cumsum(coded.lengths)
    return Coded(codes, before[end] - before[end - coded.lengths], words)
