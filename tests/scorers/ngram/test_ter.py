from __future__ import annotations

import sys
from itertools import zip_longest

import numpy as np
import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st

from capwright.scorers import Corpus, Item, RewardView, get_scorer
from capwright.scorers.ngram.ter import TER
from capwright.types import Caption, DataError, NotInstalledError, ScorerError
from coco_sets import headline, sample, uneven_items

VARIANTS = [
    {},
    {"normalized": True},
    {"no_punct": True, "case_sensitive": True},
    {"no_punct": True, "asian_support": True},
]


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_equals_sacrebleu(options):
    items = uneven_items(60)
    total, each = headline(TER(**options), items)
    theirs = sacrebleu.TER(**options)
    transposed = list(zip_longest(*(item.sample.references for item in items)))
    assert total[0] == pytest.approx(theirs.corpus_score([item.caption for item in items], transposed).score, abs=1e-9)
    expected = [theirs.sentence_score(item.caption, item.sample.references).score for item in items]
    np.testing.assert_allclose(each, expected, rtol=0, atol=1e-9)
    assert total[0] != pytest.approx(each.mean(), abs=1e-3), "a ratio of sums, not a mean of ratios"


texts = st.text(alphabet="ab C.,犬\n\u2028é", max_size=12)


@given(texts, st.lists(texts.filter(str.strip), min_size=1, max_size=3), st.sampled_from(VARIANTS))
def test_equals_sacrebleu_on_any_text(caption, references, options):
    _, each = headline(TER(**options), [Item(sample("a", *references), caption)])
    assert each[0] == pytest.approx(sacrebleu.TER(**options).sentence_score(caption, references).score, abs=1e-9)


def test_by_hand():
    """A move and an insertion, 2 edits of 7 words; the second reference needs more, and is 5 words long."""
    said, meant = "on the table a red ball", ("a red ball on the big table", "one two three four five")
    scorer = TER()
    context = scorer.prepare(Corpus([sample("x", *meant)]))
    rows = scorer.stats([Item(sample("x", meant[0]), said), Item(sample("x", *meant), said)], context).rows
    assert rows.tolist() == [[2, 7, 1], [2, 6, 1]]
    np.testing.assert_allclose(scorer.finalize(rows)[:, 0], [200 / 7, 200 / 6])
    np.testing.assert_allclose(scorer.finalize(rows.sum(0)), [400 / 13])
    np.testing.assert_allclose(scorer.shape(rows)[:, 0], [5 / 7, 4 / 6])


def test_empty_and_unknown_captions_and_samples_without_references():
    items = [
        Item(sample("a", "a cat"), " "),
        Item(sample("b", "a cat"), "a cat", "timeout"),
        Item(sample("c"), "a cat"),
        Item(sample("d", "a cat"), "A cat"),
        Item(sample("e", "a cat"), "one two three four five six"),
    ]
    scorer = TER()
    stats = scorer.stats(items, scorer.prepare(Corpus([item.sample for item in items])))
    assert stats.status == ("empty", "timeout", "ok", "ok", "ok")
    np.testing.assert_allclose(scorer.finalize(stats.rows)[:, 0], [100, np.nan, np.nan, 0, 300])
    np.testing.assert_allclose(scorer.shape(stats.rows)[:, 0], [0, np.nan, np.nan, 1, 0])
    with pytest.raises(DataError, match="none of the 1 samples has a reference"):
        scorer.prepare(Corpus([sample("c")]))


def test_references_of_nothing_but_punctuation():
    items = [Item(sample("a", "!"), "a cat"), Item(sample("b", "!"), "?")]
    total, each = headline(TER(no_punct=True), items)
    assert each.tolist() == [100, 0]
    assert total.tolist() == [100]


def test_as_a_reward_more_is_better():
    one, several = sample("a", "a red ball"), sample("b", "a red ball", "a ball")
    scorer = TER()
    context = scorer.prepare(Corpus([one, several]))
    reward = RewardView(scorer, context)([one, several], [[Caption("a red ball"), Caption("")]] * 2)
    np.testing.assert_allclose(reward.values, [[1, 0], [1, 0.2]])  # silence lacks the words of the shortest reference
    with pytest.raises(ScorerError, match="no finite range"):
        RewardView(scorer, context, "ter")


def test_signature_and_options():
    scorer = get_scorer("ter", no_punct=True, case_sensitive=True)
    context = scorer.prepare(Corpus([sample("a", "x"), sample("b", "x", "y")]))
    version = sacrebleu.__version__
    expected = f"ter|case:mixed|norm:no|punct:no|asian:no|refs:1..2|sacrebleu:{version}|v:1"
    assert scorer.signature(context) == expected
    assert TER().prepare(Corpus([sample("a", "x")])).fingerprint != context.fingerprint
    with pytest.raises(ScorerError, match=r"ter\.normalized: must be true or false, not 1"):
        TER(normalized=1)


def test_without_sacrebleu(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(NotInstalledError, match=r"ter: not installed: pip install 'capwright\[chrf\]'"):
        TER()
