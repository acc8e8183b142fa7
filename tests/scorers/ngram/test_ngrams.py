"""Counting n-grams: fast sorting is sorting, and a batch is kept for the scorer that comes next."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capwright.arrays import ranges, sort_keys
from capwright.scorers import Corpus, Item, get_scorer
from capwright.scorers.ngram import _ngrams as ngrams
from capwright.scorers.ngram._ngrams import gather, levels
from capwright.text.tokenizers import get_tokenizer
from capwright.types import NO_IMAGE, DataError, Sample

SPLIT = get_tokenizer("split")
LARGE = 2**63 - 1


@given(st.lists(st.one_of(st.integers(0, 3), st.integers(0, LARGE)), max_size=20))
def test_sorting_keeps_the_places_of_equal_keys_in_order(keys):
    ascending, order = sort_keys(np.array(keys, dtype=np.int64))
    wanted = sorted(range(len(keys)), key=lambda place: keys[place])
    assert order.tolist() == wanted
    assert ascending.tolist() == sorted(keys)


@pytest.mark.parametrize(
    "top", [2**61 - 1, 2**61, LARGE]
)  # what fits beside the places of three keys, and what does not
def test_sorting_large_keys(top):
    ascending, order = sort_keys(np.array([top, 0, top]))
    assert (ascending.tolist(), order.tolist()) == ([0, top, top], [1, 0, 2])


def test_ranges():
    assert ranges(np.array([5, 0, 7]), np.array([2, 0, 3])).tolist() == [5, 6, 7, 8, 9]
    assert ranges(np.array([], dtype=np.int64), np.array([], dtype=np.int64)).tolist() == []


def items(*captions: str) -> list[Item]:
    sample = Sample("s", NO_IMAGE, ("a b c", "c d"))
    return [Item(sample, caption) for caption in captions]


@pytest.mark.parametrize("name", ["bleu", "rougeL", "cider", "ciderD", "chrf", "chair"])
def test_a_blank_reference_is_none(name):
    scorer = get_scorer(name, **{"objects": "coco"} if name == "chair" else {})
    blank = Sample("blank", NO_IMAGE, (" ", "", "\t\u2028"))
    known = [Sample("1", NO_IMAGE, ("a cat on a bed", "a cat")), Sample("2", NO_IMAGE, ("two dogs run",))]
    mixed = [Sample(one.id, NO_IMAGE, (*one.references, "\n", "")) for one in known]
    said = [Item(sample, "a cat and a dog") for sample in (*known, *mixed, blank, blank)]
    said[-1] = Item(blank, "")
    context = scorer.prepare(Corpus([*known, blank]))
    each = scorer.finalize(scorer.stats(said, context).rows)
    np.testing.assert_array_equal(each[:2], each[2:4])
    assert np.isfinite(each[:2, 0]).all()
    assert np.isnan(each[4:]).all()
    same = scorer.prepare(Corpus(mixed))
    assert (scorer.signature(same), same.fingerprint) == (scorer.signature(context), context.fingerprint)
    with pytest.raises(DataError):
        scorer.prepare(Corpus([blank]))


def test_the_next_scorer_finds_the_batch_of_the_same_items():
    same = items("a b", "c")
    batch = gather(same, SPLIT)
    assert gather(list(same), SPLIT) is batch
    assert levels(batch, 4) is levels(batch, 4)
    assert [level.n for level in levels(batch, 2)] == [1, 2]


def test_other_items_are_counted_anew():
    same = items("a b", "c")
    batch = gather(same, SPLIT)
    assert gather(same, get_tokenizer("words")) is not batch
    assert gather(same[:1], SPLIT).lengths.tolist() == [2, 3, 2]
    assert gather([*same, *items("a")], SPLIT).status == ("ok", "ok", "ok")
    assert gather(same[::-1], SPLIT).lengths.tolist() == [1, 2, 3, 2]
    assert gather(items("a b a"), SPLIT).lengths.tolist() == [3, 3, 2]  # a sample of the same name is another sample


def test_large_batches_are_not_kept(monkeypatch):
    first = items("a")
    kept = gather(first, SPLIT)
    monkeypatch.setattr(ngrams, "_KEPT", 6)  # words
    same = items("a b")
    batch = gather(same, SPLIT)
    assert gather(same, SPLIT) is not batch
    assert gather(first, SPLIT) is kept
    assert [level.count.sum() for level in levels(batch, 3)] == [7, 4, 1]
    assert not batch.made
