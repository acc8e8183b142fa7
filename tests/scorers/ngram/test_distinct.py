from __future__ import annotations

import gzip
import json
import math
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capwright.scorers import Corpus, Item, RewardView, get_scorer
from capwright.types import Sample, ScorerError
from places import CAPTIONS

SETS = st.lists(st.lists(st.sampled_from("abcd"), max_size=7).map(" ".join), min_size=1, max_size=8)


def measure(captions, **options):
    scorer = get_scorer("distinct", **{"tokenizer": "split"} | options)
    items = [Item(Sample(str(i), Path("x")), caption) for i, caption in enumerate(captions)]
    return scorer, scorer.stats(items, scorer.prepare(Corpus([])))


def grams_of(captions, n):
    words = [caption.split() for caption in captions]
    return [tuple(w[i : i + n]) for w in words for i in range(len(w) - n + 1)]


def by_hand(captions):
    values = []
    for n in (1, 2, 3):
        grams = grams_of(captions, n)
        values.append(len(set(grams)) / len(grams) if grams else math.nan)
    return [*values, len(set(grams_of(captions, 1)))]


def test_example_by_hand():
    scorer, stats = measure(["a dog runs", "a dog sleeps", "a cat"])
    # 8 words, 5 different; 5 bigrams, "a dog" twice; 2 trigrams.
    np.testing.assert_allclose(scorer.finalize(stats.rows.sum(0)), [5 / 8, 4 / 5, 1, 5], rtol=1e-12)


@settings(max_examples=150, deadline=None)
@given(SETS)
def test_rows_are_the_linearized_definition(captions):
    scorer, stats = measure(captions)
    whole = np.array(by_hand(captions))
    np.testing.assert_allclose(scorer.finalize(stats.rows.sum(0)), whole, rtol=1e-12)
    n = len(captions)
    without = np.array([by_hand(captions[:i] + captions[i + 1 :]) for i in range(n)])
    without = np.where(np.isnan(without), whole, without)  # a share that is lost with a caption counts as unchanged
    expected = whole + (n - 1) * (without.mean(0) - without)
    np.testing.assert_allclose(scorer.finalize(stats.rows), expected, rtol=1e-11, atol=1e-12)


def expected_at(captions, n, budget):
    """Expected number of different n-grams among `budget` drawn, from binomial coefficients."""
    counts = Counter(grams_of(captions, n)).values()
    total = sum(counts)
    return sum(1 - math.comb(total - count, budget) / math.comb(total, budget) for count in counts)


@settings(max_examples=60, deadline=None)
@given(SETS, st.integers(1, 6))
def test_rarefied_rows_are_the_linearized_definition(captions, budget):
    captions = [caption + " a b c a b c d" for caption in captions] + ["a b d c d a b", "d d a b c a c"]
    scorer, stats = measure(captions, budget=budget)
    whole = np.array(
        [*(expected_at(captions, n, budget) / budget for n in (1, 2, 3)), expected_at(captions, 1, budget)]
    )
    np.testing.assert_allclose(scorer.finalize(stats.rows.sum(0)), whole, rtol=1e-12)
    n = len(captions)
    rests = [captions[:i] + captions[i + 1 :] for i in range(n)]
    without = np.array(
        [[*(expected_at(r, k, budget) / budget for k in (1, 2, 3)), expected_at(r, 1, budget)] for r in rests]
    )
    expected = whole + (n - 1) * (without.mean(0) - without)
    np.testing.assert_allclose(scorer.finalize(stats.rows), expected, rtol=1e-10, atol=1e-11)


def test_a_budget_is_the_mean_over_all_draws():
    captions = ["a a b c b", "x y z x y"]
    scorer, stats = measure(captions, budget=3)
    words = " ".join(captions).split()
    mean = np.mean([len({words[i] for i in draw}) for draw in combinations(range(10), 3)])
    assert scorer.finalize(stats.rows.sum(0))[3] == pytest.approx(mean, rel=1e-12)


def test_on_coco_it_is_the_definition_and_needs_a_budget_to_compare_sizes():
    with gzip.open(CAPTIONS / "val2017_nn_results.json.gz") as file:
        captions = [" ".join(row["caption"].lower().split()) for row in json.load(file)]
    scorer, stats = measure(captions)
    whole = scorer.finalize(stats.rows.sum(0))
    np.testing.assert_allclose(whole, by_hand(captions), rtol=1e-12)
    half = scorer.finalize(measure(captions[::2])[1].rows.sum(0))
    assert (half[:3] > 1.15 * whole[:3]).all()  # half the text looks far more diverse
    scorer, stats = measure(captions, budget=5000)
    whole, half = (
        scorer.finalize(stats.rows.sum(0)),
        scorer.finalize(measure(captions[::2], budget=5000)[1].rows.sum(0)),
    )
    np.testing.assert_allclose(half, whole, rtol=0.015)  # at one budget it does not


def test_the_jackknife_has_the_spread_of_resampling_halves():
    with gzip.open(CAPTIONS / "fakecap1000_results.json.gz") as file:
        captions = [row["caption"] for row in json.load(file)]
    scorer, stats = measure(captions, budget=1000)
    values = scorer.finalize(stats.rows)
    error = values.std(0, ddof=1) / len(captions) ** 0.5
    random = np.random.default_rng(0)
    halves = []
    for _ in range(100):
        half = [captions[i] for i in random.permutation(len(captions))[: len(captions) // 2]]
        halves.append(scorer.finalize(measure(half, budget=1000)[1].rows.sum(0)))
    # A half drawn without replacement has the variance of the whole set: s^2 / (n/2) * (1 - 1/2) = s^2 / n.
    np.testing.assert_allclose(error, np.std(halves, axis=0), rtol=0.25)


def test_unknown_captions_are_left_out_and_empty_ones_are_not():
    scorer = get_scorer("distinct", tokenizer="words")
    context = scorer.prepare(Corpus([]))
    known = [Item(Sample("a", Path("x")), "A dog, a cat."), Item(Sample("b", Path("x")), "")]
    stats = scorer.stats([known[0], Item(Sample("c", Path("x")), "zebra", "timeout"), known[1]], context)
    assert stats.status == ("ok", "timeout", "empty")
    assert not stats.rows[1].any()
    np.testing.assert_array_equal(stats.rows[[0, 2]], scorer.stats(known, context).rows)
    nothing = scorer.stats([Item(Sample("c", Path("x")), "zebra", "timeout")], context)
    assert np.isnan(scorer.finalize(nothing.rows.sum(0))).all()
    blank = scorer.finalize(scorer.stats(known[1:], context).rows.sum(0))
    assert np.isnan(blank[:3]).all()
    assert blank[3] == 0


def test_signature_and_what_it_can_not_do():
    scorer = get_scorer("distinct", tokenizer="words", budget=500)
    context = scorer.prepare(Corpus([]))
    assert scorer.signature(context) == "distinct|n:1..3|tok:words|ws:collapse|budget:500|v:1"
    with pytest.raises(ScorerError, match="no single caption"):
        RewardView(scorer, context)
    with pytest.raises(
        ScorerError, match="3 1-grams, 1 without the longest caption, which is less than the budget of 9"
    ):
        measure(["a b", "c"], budget=9)
    for budget in (0, 1.5, True):
        with pytest.raises(ScorerError, match="budget: must be a whole number"):
            get_scorer("distinct", budget=budget)
