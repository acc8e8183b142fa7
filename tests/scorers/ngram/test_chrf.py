from __future__ import annotations

import sys
from itertools import zip_longest

import numpy as np
import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st

from capwright.scorers import Corpus, Item, RewardView, get_scorer
from capwright.scorers.ngram.chrf import ChrF
from capwright.types import Caption, DataError, NotInstalledError, ScorerError
from coco_sets import headline, sample, uneven_items

VARIANTS = [
    {},
    {"word_order": 2},
    {"beta": 1, "char_order": 3},
    {"lowercase": True},
    {"effective_order": False},
    {"effective_order": False, "word_order": 2},
]


def theirs(**options) -> object:
    options["eps_smoothing"] = not options.pop("effective_order", True)
    return sacrebleu.CHRF(**options)


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_equals_sacrebleu(options):
    items = uneven_items(150)
    assert {len(item.sample.references) for item in items} == {3, 4, 5}
    total, each = headline(ChrF(**options), items)
    captions = [item.caption for item in items]
    transposed = list(zip_longest(*(item.sample.references for item in items)))
    assert total == pytest.approx(theirs(**options).corpus_score(captions, transposed).score, abs=1e-9)
    expected = [theirs(**options).sentence_score(item.caption, item.sample.references).score for item in items]
    np.testing.assert_allclose(each, expected, rtol=0, atol=1e-9)


texts = st.text(alphabet="ab C.\n\u2028é", max_size=12)


@given(st.text(max_size=20), st.lists(texts.filter(str.strip), min_size=1, max_size=3), st.sampled_from(VARIANTS))
def test_equals_sacrebleu_on_any_text(caption, references, options):
    _, each = headline(ChrF(**options), [Item(sample("a", *references), caption)])
    assert each[0] == pytest.approx(theirs(**options).sentence_score(caption, references).score, abs=1e-9)


def test_by_hand():
    """abcd against abed: letters a, b, d of 4 match, ab of 3 pairs; nothing longer."""
    scorer = ChrF()
    context = scorer.prepare(Corpus([sample("x", "a bed")]))
    stats = scorer.stats([Item(sample("x", "a bed"), "ab cd")], context)
    assert stats.rows[0, :12].tolist() == [4, 4, 3, 3, 3, 1, 2, 2, 0, 1, 1, 0]
    assert stats.rows[0, 12:].tolist() == [0, 0, 0, 0, 0, 0, 1]
    mean = (3 / 4 + 1 / 3) / 4
    assert scorer.finalize(stats.rows)[0, 0] == pytest.approx(100 * mean)


def test_the_best_reference_counts():
    _, (best, alone) = headline(ChrF(), [Item(sample("a", "a red bus", "a cat"), "a cat"), Item(sample("b", "x"), "x")])
    assert best == alone == pytest.approx(100)


def test_empty_and_unknown_captions_and_samples_without_references():
    items = [
        Item(sample("a", "a cat"), " "),
        Item(sample("b", "a cat"), "a cat", "timeout"),
        Item(sample("c"), "a cat"),
        Item(sample("d", "a cat"), "a cat"),
    ]
    scorer = ChrF()
    stats = scorer.stats(items, scorer.prepare(Corpus([item.sample for item in items])))
    assert stats.status == ("empty", "timeout", "ok", "ok")
    np.testing.assert_allclose(scorer.finalize(stats.rows)[:, 0], [0, np.nan, np.nan, 100])
    assert not stats.rows[1:3].any()
    with pytest.raises(DataError, match="none of the 1 samples has a reference"):
        scorer.prepare(Corpus([sample("c")]))


def test_leading_axes_and_batches():
    items = uneven_items(12)
    scorer = ChrF(word_order=2)
    context = scorer.prepare(Corpus([item.sample for item in items]))
    rows = scorer.stats(items, context).rows
    halves = np.concatenate([scorer.stats(items[:5], context).rows, scorer.stats(items[5:], context).rows])
    np.testing.assert_array_equal(rows, halves)
    np.testing.assert_array_equal(scorer.finalize(rows.reshape(3, 4, -1)).reshape(12, 1), scorer.finalize(rows))


def test_as_a_reward_it_is_scaled_to_one():
    item = uneven_items(1)[0]
    scorer = ChrF()
    context = scorer.prepare(Corpus([item.sample]))
    reward = RewardView(scorer, context)([item.sample], [[Caption(item.sample.references[0]), Caption("")]])
    np.testing.assert_allclose(reward.values, [[1, 0]])


def test_signature_names_what_counts():
    scorer = get_scorer("chrf", word_order=2, lowercase=True, effective_order=False)
    context = scorer.prepare(Corpus([sample("a", "x"), sample("b", "x", "y"), sample("c")]))
    version = sacrebleu.__version__
    expected = f"chrf|nc:6|nw:2|beta:2|case:lc|eff:no|space:no|refs:1..2|sacrebleu:{version}|v:1"
    assert scorer.signature(context) == expected
    other = ChrF(word_order=1)
    assert other.prepare(Corpus([sample("a", "x")])).fingerprint != context.fingerprint


@pytest.mark.parametrize(
    "options", [{"char_order": 0}, {"word_order": -1}, {"beta": 0.5}, {"lowercase": "no"}], ids=str
)
def test_bad_options(options):
    with pytest.raises(ScorerError, match=f"chrf.{next(iter(options))}: must be"):
        ChrF(**options)


def test_without_sacrebleu(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(NotInstalledError, match=r"chrf: not installed: pip install 'capwright\[chrf\]'"):
        ChrF()


def test_no_rows_at_all():
    assert ChrF(word_order=2).finalize(np.zeros((0, 25))).shape == (0, 1)
