"""BLEU against the reference values, by hand, and against chance."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capwright.scorers import Corpus, Item, RewardView, explain, get_scorer
from capwright.types import NO_IMAGE, Caption, DataError, Sample, ScorerError
from coco_sets import SETS, expected, measure, raw_items, tokenized_items

BLEU = get_scorer("bleu", tokenizer="split")
ORDER = ("Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4")
TEXT = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=8).map(" ".join)


def sample(*references: str) -> Sample:
    return Sample("s", NO_IMAGE, references)


def score(caption: str, *references: str) -> np.ndarray:
    return measure(BLEU, [Item(sample(*references), caption)])[1][0]


@pytest.mark.parametrize("name", SETS)
def test_equals_the_reference_values(name):
    total, each = measure(BLEU, tokenized_items(name))
    for column, metric in enumerate(ORDER):
        of_set, of_captions = expected(name, metric)
        assert total[column] == pytest.approx(of_set, abs=1e-9)
        np.testing.assert_allclose(each[:, column], of_captions, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", SETS)
def test_is_near_them_from_raw_text(name):
    total, _ = measure(get_scorer("bleu"), raw_items(name))
    np.testing.assert_allclose(total, [expected(name, metric)[0] for metric in ORDER], rtol=0, atol=5e-4)


def test_by_hand():
    # "the" is clipped to 2 of 3; one of two 2-grams; the references have 3 and 5 words, 3 is as near to 4 and shorter.
    correct = [3 / 4, 1 / 3]
    bleu1, bleu2, _, bleu4 = score("the the the cat", "the the dog", "a cat the the dogs")
    assert bleu1 == pytest.approx(correct[0], abs=1e-8)
    assert bleu2 == pytest.approx(math.sqrt(correct[0] * correct[1]), abs=1e-8)
    assert 0 < bleu4 < 1e-3
    assert score("a cat", "a cat sat on")[0] == pytest.approx(math.exp(1 - 4 / 2), abs=1e-8)
    assert score("a b c d e", "a b c d e")[3] == pytest.approx(1, abs=1e-8)


def test_empty_captions_score_and_blank_references_are_none():
    context = BLEU.prepare(Corpus([sample("a b")]))
    stats = BLEU.stats([Item(sample("a b"), " "), Item(sample(""), ""), Item(sample("", "a b c"), "a")], context)
    assert stats.status == ("empty", "empty", "ok")
    assert stats.rows[:, 8:].tolist() == [[0, 2, 1], [0, 0, 0], [1, 3, 1]]
    np.testing.assert_allclose(BLEU.finalize(stats.rows)[:2], [[0] * 4, [np.nan] * 4], atol=1e-12)


def test_unknown_is_not_zero():
    items = [Item(sample("a b"), "a b"), Item(sample(), "a b"), Item(sample("a b"), "", "timeout")]
    context = BLEU.prepare(Corpus([item.sample for item in items]))
    stats = BLEU.stats(items, context)
    assert stats.status == ("ok", "ok", "timeout")
    assert not stats.rows[1:].any()
    assert np.isnan(BLEU.finalize(stats.rows)[1:]).all()
    assert not np.isnan(BLEU.finalize(stats.rows.sum(0))).any()
    assert np.isnan(BLEU.shape(stats.rows)[1:]).all()
    with pytest.raises(DataError, match="none of the 2 samples has a reference"):
        BLEU.prepare(Corpus([sample(), sample()]))
    assert BLEU.stats([], context).rows.shape == (0, 11)


@given(st.lists(st.tuples(TEXT, st.lists(TEXT, max_size=3)), min_size=1, max_size=6), st.randoms())
@settings(deadline=None)
def test_captions_do_not_touch_each_other(pairs, random):
    items = [Item(sample("a"), "a"), *(Item(sample(*references), caption) for caption, references in pairs)]
    context = BLEU.prepare(Corpus([item.sample for item in items]))
    rows = BLEU.stats(items, context).rows
    alone = np.concatenate([BLEU.stats([item], context).rows for item in items])
    np.testing.assert_array_equal(rows, alone)
    order = list(range(len(items)))
    random.shuffle(order)
    np.testing.assert_array_equal(BLEU.stats([items[i] for i in order], context).rows, rows[order])
    total = BLEU.finalize(rows.sum(0))
    assert ((total >= 0) & (total <= 1)).all()


@given(TEXT, st.lists(TEXT, min_size=1, max_size=3).filter(any), st.randoms())
@settings(deadline=None)
def test_references_have_no_order(caption, references, random):
    before = score(caption, *references)
    random.shuffle(references)
    np.testing.assert_array_equal(score(caption, *references), before)


def test_several_captions_of_one_sample():
    one, other = sample("a b c"), sample("d e")
    items = [Item(one, "a b"), Item(other, "d"), Item(one, "c"), Item(one, "a b")]
    context = BLEU.prepare(Corpus([one, other]))
    rows = BLEU.stats(items, context).rows
    np.testing.assert_array_equal(rows, np.concatenate([BLEU.stats([item], context).rows for item in items]))
    np.testing.assert_array_equal(rows[0], rows[3])


def test_the_smooth_reward():
    view = RewardView(BLEU, BLEU.prepare(Corpus([sample("a b c d")])))
    assert view.output == "smooth"
    captions = [Caption(text) for text in ("a b c d", "a b", "x y", "", "d c b a", "a b c d x")]
    reward = view([sample("a b c d")], [captions])
    # "a b": 2/2 words, (1 + 1)/(1 + 1) 2-grams, (0 + 1)/(0 + 1) twice, and half as long as the reference.
    # "d c b a": 4/4 words, then 1/4, 1/3, 1/2. "a b c d x": 4/5, (3 + 1)/5, (2 + 1)/4, (1 + 1)/3; length earns nothing.
    wanted = [1, math.exp(1 - 4 / 2), 0, 0, (1 / 4 * 1 / 3 * 1 / 2) ** 0.25, (4 / 5 * 4 / 5 * 3 / 4 * 2 / 3) ** 0.25]
    np.testing.assert_allclose(reward.values, [wanted], atol=1e-12)


def test_evidence():
    items = [Item(sample("a cat sat", "the cat"), "a cat a"), Item(sample(), "a")]
    context = BLEU.prepare(Corpus([items[0].sample]))
    found, nothing = explain(BLEU, items, context)
    assert nothing is None
    assert found["orders"][:2] == [
        {"n": 1, "matched": ["a", "cat"], "unmatched": ["a"]},
        {"n": 2, "matched": ["a cat"], "unmatched": ["cat a"]},
    ]
    assert [order["unmatched"] for order in found["orders"][2:]] == [["a cat a"], []]


def test_signature():
    context = BLEU.prepare(Corpus([sample("a"), sample("a", "b", "c"), sample()]))
    assert BLEU.signature(context) == "bleu|n:4|tok:split|ws:collapse|refs:1..3|v:1"
    assert BLEU.spec.headline == "bleu4" == BLEU.spec.outputs[3]
    with pytest.raises(ScorerError, match="own prepare"):
        BLEU.signature(get_scorer("rougeL", tokenizer="split").prepare(Corpus([sample("a")])))
    with pytest.raises(ScorerError, match=r"bleu\.tokenizer: must be one of .*, not 'spilt'; did you mean \"split\"\?"):
        get_scorer("bleu", tokenizer="spilt")
