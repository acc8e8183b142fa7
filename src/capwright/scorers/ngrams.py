"""Counting n-grams of captions and of their references, for a whole batch at once.

Words are whole numbers (`tokens.Tokenizer.codes`). An n-gram gets its number from that of its first n - 1 words and its
last word, so that numbers stay small and two different n-grams never share one: nothing is hashed. Numbers are given
within the texts of one sample, because that is all that is ever compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capwright.scorers.base import SCORED, Corpus, Item, item_status
from capwright.scorers.tokens import Coded, Tokenizer
from capwright.types import DataError

Ints = NDArray[np.int64]

_PART = 32_768


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
        text: int64 [T], for each word, the text it is in; ascending.
        codes: int32 [T], the words.
        lengths: int64 [N], words of each text.
        words: the word of each code, in alphabetical order.
    """

    status: tuple[str, ...]
    item: Ints
    sample: Ints
    references: Ints
    text: Ints
    codes: NDArray[np.int32]
    lengths: Ints
    words: list[str]


@dataclass(frozen=True, slots=True)
class Level:
    """The n-grams of one length in a batch.

    A *gram* is an n-gram of one sample. A *run* is all its occurrences in one text. A *meeting* is a run of a caption
    and a run of the same gram in one of its references.

    Attributes:
        n: words in an n-gram.
        parent: int64 [grams], the gram of the level below that a gram begins with (at n = 1: the sample).
        last: int64 [grams], code of its last word.
        start: int64 [grams], where it first stands in `batch.codes`.
        gram, text, count: int64 [runs], what, where and how often; by gram, captions before references.
        caption, reference: int64 [meetings], the two runs; all meetings of a run of a caption stand together.
    """

    n: int
    parent: Ints
    last: Ints
    start: Ints
    gram: Ints
    text: Ints
    count: Ints
    caption: Ints
    reference: Ints


def gather(items: Sequence[Item], tokenizer: Tokenizer) -> Batch:
    """Captions and references of a batch, each text cut once."""
    status = tuple(item_status(item) for item in items)
    captions_of: dict[int, list[int]] = {}
    for index, (item, state) in enumerate(zip(items, status)):
        if state in SCORED and item.sample.references:
            captions_of.setdefault(id(item.sample), []).append(index)
    texts: list[str] = []
    item_of: list[int] = []
    sample_of: list[int] = []
    references: list[int] = []
    for number, captions in enumerate(captions_of.values()):
        given = items[captions[0]].sample.references
        texts += [items[index].caption for index in captions]
        texts += given
        item_of += captions
        item_of += [-1] * len(given)
        sample_of += [number] * (len(captions) + len(given))
        references += [len(given)] * (len(captions) + len(given))
    coded = _cut(texts, tokenizer)
    return Batch(
        status=status,
        item=np.array(item_of, dtype=np.int64),
        sample=np.array(sample_of, dtype=np.int64),
        references=np.array(references, dtype=np.int64),
        text=np.repeat(np.arange(len(texts)), coded.lengths),
        codes=coded.codes,
        lengths=coded.lengths,
        words=coded.words,
    )


def levels(batch: Batch, n: int) -> Iterator[Level]:
    """The n-grams of 1, 2, ... n words."""
    is_caption = batch.item >= 0
    codes = batch.codes.astype(np.int64)
    position = np.arange(len(codes))
    left = np.cumsum(batch.lengths)[batch.text] - position  # words from here to the end of the text
    gram = batch.sample[batch.text]
    for length in range(1, n + 1):
        long_enough = left[position] >= length
        position, gram = position[long_enough], gram[long_enough]
        last = codes[position + length - 1]
        # Positions are in the order of samples and texts, and a stable sort keeps it: runs come out by gram and text.
        key = gram * (codes.max(initial=0) + 1) + last
        order = np.argsort(key, kind="stable")
        key, text = key[order], batch.text[position[order]]
        new_gram = np.ones(len(key), dtype=bool)
        new_gram[1:] = key[1:] != key[:-1]
        new_run = new_gram.copy()
        new_run[1:] |= text[1:] != text[:-1]
        number = np.cumsum(new_gram) - 1
        first = order[new_gram]
        run = np.flatnonzero(new_run)
        run_text, run_gram = text[run], number[run]
        caption, reference = _meetings(run_gram, is_caption[run_text], len(first))
        yield Level(
            n=length,
            parent=gram[first],
            last=last[first],
            start=position[first],
            gram=run_gram,
            text=run_text,
            count=np.diff(run, append=len(key)),
            caption=caption,
            reference=reference,
        )
        gram = np.empty_like(number)
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
        if sample.references:
            texts += sample.references
            owner += [number] * len(sample.references)
            number += 1
    # In parts, because what a tokenizer gives back takes far more room than codes.
    parts = [_cut(texts[start : start + _PART], tokenizer) for start in range(0, len(texts), _PART)]
    words = sorted(set().union(*(part.words for part in parts)))
    rank = {word: code for code, word in enumerate(words)}
    recoded = [np.array([rank[word] for word in part.words], dtype=np.int32)[part.codes] for part in parts]
    lengths = [part.lengths for part in parts]
    coded = Coded(_joined(recoded, np.int32), _joined(lengths, np.int64), words)
    return coded, np.array(owner, dtype=np.int32)


def count_references(corpus: Corpus, scorer: str) -> str:
    """How many references samples have, for signatures: "5" or "5..7"; samples that have none are left out.

    Raises DataError when no sample has any.
    """
    counts = {len(sample.references) for sample in corpus.samples} - {0}
    if not counts:
        raise DataError(
            f"{scorer}: none of the {len(corpus.samples)} samples has a reference to compare captions with; "
            'add "references" to samples.jsonl, or give a file of references'
        )
    return str(min(counts)) if len(counts) == 1 else f"{min(counts)}..{max(counts)}"


def _joined(parts: Sequence[NDArray[Any]], dtype: type) -> NDArray[Any]:
    return np.concatenate([np.zeros(0, dtype=dtype), *parts])


def _meetings(gram: Ints, is_caption: NDArray[np.bool_], grams: int) -> tuple[Ints, Ints]:
    """Every run of a caption with every run of the same gram in a reference."""
    runs = np.bincount(gram, minlength=grams)
    of_captions = np.bincount(gram[is_caption], minlength=grams)
    of_references = runs - of_captions
    first_reference = np.cumsum(runs) - of_references
    captions = np.flatnonzero(is_caption)
    each = of_references[gram[captions]]
    caption = np.repeat(captions, each)
    nth = np.arange(len(caption)) - np.repeat(np.cumsum(each) - each, each)
    return caption, np.repeat(first_reference[gram[captions]], each) + nth


def _cut(texts: Sequence[str], tokenizer: Tokenizer) -> Coded:
    """Texts as words. A token with white space in it ("1 1/2" with a no-break space) is several words.

    That is how the reference implementations of BLEU and CIDEr read a tokenized caption; that of ROUGE-L does not.
    Codes are in alphabetical order, so that sums are made in an order that hangs on the text alone. Otherwise the last
    digit of a reward could depend on what was tokenized before it, and a resumed run would drift.
    """
    coded = tokenizer.codes(texts)
    used = np.zeros(len(coded.words), dtype=bool)
    used[coded.codes] = True
    parts = [coded.words[code].split() for code in np.flatnonzero(used).tolist()]
    words = sorted({word for split in parts for word in split})
    rank = {word: code for code, word in enumerate(words)}
    flat = np.array([rank[word] for split in parts for word in split], dtype=np.int32)
    size = np.zeros(len(coded.words), dtype=np.int64)
    size[used] = [len(split) for split in parts]
    each = size[coded.codes]
    first = (np.cumsum(size) - size)[coded.codes]
    before = np.concatenate([[0], np.cumsum(each)])
    end = np.cumsum(coded.lengths)
    nth = np.arange(before[-1]) - np.repeat(before[:-1], each)
    return Coded(flat[np.repeat(first, each) + nth], before[end] - before[end - coded.lengths], words)
