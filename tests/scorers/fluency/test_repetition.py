from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capwright.scorers import Corpus, Item, RewardView, get_scorer
from capwright.scorers.ngram.distinct import grow_ngrams, start_ngrams
from capwright.text.tokenizers import get_tokenizer
from capwright.training.monitors import repetition
from capwright.types import Caption, Sample, ScorerError

SAMPLE = Sample("a", Path("x"))


def rows(*captions, tokenizer="split"):
    scorer = get_scorer("repetition", tokenizer=tokenizer)
    return scorer.stats([Item(SAMPLE, caption) for caption in captions], scorer.prepare(Corpus([]))).rows


def by_hand(caption):
    """rep4, rep1, rep2, rep3, run, loop straight from their definitions."""
    words = caption.split()
    shares, loop = {}, 0.0
    for n in range(1, 5):
        grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
        shares[n] = 1 - len(set(grams)) / len(grams) if grams else 0.0
        if n == 4:
            loop = float(any(grams.count(gram) >= 3 for gram in grams))
    run = max(
        (
            n
            for n in range(1, len(words) // 2 + 1)
            for i in range(len(words))
            for j in range(i + n, len(words) - n + 1)
            if words[i : i + n] == words[j : j + n]
        ),
        default=0,
    )
    return [shares[4], shares[1], shares[2], shares[3], run, loop, 1]


def test_examples_by_hand():
    # "a b c a b c a b c": nine words, three different; eight bigrams, three different ...
    loop, fresh, stuck, empty = rows("a b c a b c a b c", "a man rides a horse", "dog dog dog dog", "")
    np.testing.assert_allclose(loop, [3 / 6, 6 / 9, 5 / 8, 4 / 7, 3, 0, 1])
    np.testing.assert_allclose(fresh, [0, 1 / 5, 0, 0, 1, 0, 1])
    np.testing.assert_allclose(stuck, [0, 3 / 4, 2 / 3, 1 / 2, 2, 0, 1])
    assert empty.tolist() == [0, 0, 0, 0, 0, 0, 1]
    assert rows("a b c d a b c d a b c d")[0, 5] == 1  # one 4-gram three times


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(st.sampled_from("abc"), max_size=20).map(" ".join), min_size=1, max_size=6))
def test_it_is_the_definition(captions):
    np.testing.assert_allclose(rows(*captions), [by_hand(caption) for caption in captions], atol=1e-15)


def test_rep3_is_what_the_training_alarm_watches():
    captions = ["the cat sat on the cat sat on the mat", "one two three", "a b a b a b a b", "word", ""]
    np.testing.assert_allclose(rows(*captions)[:, 3], [repetition(caption.split()) for caption in captions])


def test_a_long_loop_is_quick():
    caption = " ".join(["the red ball is on the shelf and"] * 200)
    assert rows(caption)[0, 4:].tolist() == [800, 1, 1]  # half of 1,600 words


def test_the_time_of_a_loop_does_not_grow_with_its_square():
    begin = time.process_time()
    assert rows(*(["a b c " * 10_000] * 2))[:, 4].tolist() == [15_000, 15_000]
    assert time.process_time() - begin < 5


def test_corpus_is_the_mean_and_unknown_captions_are_left_out():
    scorer = get_scorer("repetition")
    context = scorer.prepare(Corpus([]))
    items = [Item(SAMPLE, "A dog, a dog, a dog, a dog."), Item(SAMPLE, "A cat."), Item(SAMPLE, "no no no", "refusal")]
    stats = scorer.stats(items, context)
    each = scorer.finalize(stats.rows)
    np.testing.assert_allclose(scorer.finalize(stats.rows.sum(0)), each[:2].mean(0))
    assert np.isnan(each[2]).all()
    assert scorer.explain(items, context)[0] == {"run": "a dog a dog", "times": 2}
    assert scorer.explain(items, context)[1:] == [None, None]


def test_evidence_names_the_longest_stretch_and_how_often():
    scorer = get_scorer("repetition", tokenizer="split")
    items = [Item(SAMPLE, "x y z and x y z or x y z but q q q q")]
    assert scorer.explain(items, scorer.prepare(Corpus([]))) == [{"run": "x y z", "times": 3}]


def test_reward_is_one_for_a_fresh_caption():
    scorer = get_scorer("repetition", tokenizer="words")
    view = RewardView(scorer, scorer.prepare(Corpus([])))
    reward = view([SAMPLE], [[Caption("A dog runs on grass."), Caption("a b c d a b c d"), Caption("")]])
    np.testing.assert_allclose(reward.values, [[1, 1 - 1 / 5, 1]])
    np.testing.assert_allclose(reward.parts["rep1"], [[1, 1 / 2, 1]])  # lower is better: turned around
    assert view.signature.startswith("repetition|n:1..4|loop:4x3|tok:words|ws:collapse|v:1|reward:fresh")


def test_ngrams_do_not_reach_into_the_next_text():
    coded = get_tokenizer("split").codes(["a b", "", "a b c"])
    grown = grow_ngrams(coded, grow_ngrams(coded, start_ngrams(coded)))
    assert grown.position.tolist() == [0, 2, 3]
    assert grown.gram[0] == grown.gram[1] != grown.gram[2]
    apart = grow_ngrams(coded, grow_ngrams(coded, start_ngrams(coded, apart=True)))
    assert len(set(apart.gram.tolist())) == 3


def test_an_unknown_tokenizer_is_an_error():
    with pytest.raises(ScorerError, match="repetition.tokenizer: .*, not 'word'; did you mean \"words\""):
        get_scorer("repetition", tokenizer="word")
