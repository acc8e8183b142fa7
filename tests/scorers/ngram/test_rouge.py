"""ROUGE-L against the reference values, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capwright.scorers import Corpus, Item, RewardView, explain, get_scorer
from capwright.types import NO_IMAGE, Caption, DataError, Sample, ScorerError
from coco_sets import SETS, expected, measure, raw_items, tokenized_items

ROUGE = get_scorer("rougeL", tokenizer="split")
WORDS = st.lists(st.sampled_from("abcd"), max_size=12)


def sample(*references: str) -> Sample:
    return Sample("s", NO_IMAGE, references)


def score(caption: str, *references: str) -> float:
    return float(measure(ROUGE, [Item(sample(*references), caption)])[1][0, 0])


@pytest.mark.parametrize("name", SETS)
def test_equals_the_reference_values(name):
    total, each = measure(ROUGE, tokenized_items(name))
    of_set, of_captions = expected(name, "ROUGE_L")
    assert total[0] == pytest.approx(of_set, abs=1e-9)
    np.testing.assert_allclose(each[:, 0], of_captions, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", SETS)
def test_is_near_them_from_raw_text(name):
    total, _ = measure(get_scorer("rougeL"), raw_items(name))
    assert total[0] == pytest.approx(expected(name, "ROUGE_L")[0], abs=5e-4)


def test_by_hand():
    # Common: "a cat mat", 3 of 4 words of the caption; 3 of 6 of one reference, but 2 of 3 of the other.
    p, r = 3 / 4, 2 / 3
    wanted = (1 + 1.44) * p * r / (r + 1.44 * p)
    assert score("a big cat mat", "a cat on the mat now", "big one cat") == pytest.approx(wanted, abs=1e-12)
    assert score("a b c", "a b c", "x") == pytest.approx(1)
    assert score("a b", "c d") == 0


def test_text_without_words_is_one_empty_word():
    scorer = get_scorer("rougeL")
    pairs = [("", "!"), ("?", "!"), ("a", "!"), ("", "a")]
    assert measure(scorer, [Item(sample(reference), caption) for caption, reference in pairs])[1][:, 0] == (
        pytest.approx([1, 1, 0, 0])
    )
    assert score("a", "", "a b") == pytest.approx((1 + 1.44) * 0.5 / (0.5 + 1.44))


def test_unknown_is_not_zero():
    items = [Item(sample("a b"), "a b"), Item(sample(), "a b"), Item(sample("a b"), "", "timeout")]
    context = ROUGE.prepare(Corpus([item.sample for item in items]))
    stats = ROUGE.stats(items, context)
    assert stats.status == ("ok", "ok", "timeout")
    np.testing.assert_array_equal(ROUGE.finalize(stats.rows), [[1], [np.nan], [np.nan]])
    with pytest.raises(DataError, match="none of the 1 samples has a reference"):
        ROUGE.prepare(Corpus([sample()]))


@given(st.lists(st.tuples(WORDS, st.lists(WORDS, max_size=3)), min_size=1, max_size=6), st.randoms())
@settings(deadline=None)
def test_captions_do_not_touch_each_other(pairs, random):
    items = [Item(sample("a"), "a")]
    items += [Item(sample(*map(" ".join, references)), " ".join(caption)) for caption, references in pairs]
    context = ROUGE.prepare(Corpus([item.sample for item in items]))
    rows = ROUGE.stats(items, context).rows
    np.testing.assert_array_equal(rows, np.concatenate([ROUGE.stats([item], context).rows for item in items]))
    order = list(range(len(items)))
    random.shuffle(order)
    np.testing.assert_array_equal(ROUGE.stats([items[i] for i in order], context).rows, rows[order])
    assert ROUGE.finalize(rows.sum(0))[0] == pytest.approx(np.nanmean(ROUGE.finalize(rows)))
    assert ((rows >= 0) & (rows <= 1 + 1e-12)).all()


def test_as_a_reward():
    one = sample("a b c")
    reward = RewardView(ROUGE, ROUGE.prepare(Corpus([one])))([one], [[Caption("a b c"), Caption(""), Caption("z")]])
    np.testing.assert_allclose(reward.values, [[1, 0, 0]])


def test_evidence():
    items = [
        Item(sample("the dog", " ", "a cat on a mat"), "a big cat, a mat"),
        Item(sample(), "a"),
        Item(sample("a"), ""),
        Item(sample(""), ""),
    ]
    context = ROUGE.prepare(Corpus([item.sample for item in items]))
    assert explain(ROUGE, items, context) == [
        {"reference": 2, "words": ["a", "a", "mat"]},
        None,
        {"reference": 0, "words": []},
        None,
    ]


def test_signature():
    context = ROUGE.prepare(Corpus([sample("a", "b")]))
    assert ROUGE.signature(context) == "rougeL|beta:1.2|tok:split|ws:collapse|refs:2|v:1"
    with pytest.raises(ScorerError, match="own prepare"):
        ROUGE.signature(get_scorer("bleu", tokenizer="split").prepare(Corpus([sample("a")])))
