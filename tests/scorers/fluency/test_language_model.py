"""The language model is Kneser-Ney by its definition, sums to one, and forgets the order of what it learned."""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np
import pytest

from capwright.scorers.fluency._trigram_model import END, START, UNKNOWN, find, learn

TEXTS = [
    "a red ball is on the left",
    "a red ball is on the right",
    "a blue board is on the left",
    "two red balls are on the table",
    "a child is sitting on the left",
    "a child sees a red board",
    "we see a blue ball on the table",
]
SENTENCES = [text.split() for text in TEXTS]


def discount(counts):
    once, twice = (sum(c == n for c in counts) for n in (1, 2))
    return min(max(once / (once + 2 * twice), 0.1), 0.9) if once else 0.1


def by_definition(model, sentences):
    """P(word | before, last), with dictionaries."""
    met = set()

    def number(word):
        if word in met:
            return model.words.get(word, UNKNOWN)
        met.add(word)
        return UNKNOWN

    coded = [[START, *map(number, sentence), END] for sentence in sentences]
    pairs = Counter(pair for s in coded for pair in pairwise(s))
    triples = Counter((a, b, c) for s in coded for a, b, c in zip(s, s[1:], s[2:]))
    spread = Counter((b, c) for _, b, c in triples)
    spread.update({pair: n for pair, n in pairs.items() if pair[0] == START})
    kinds = Counter(b for _, b in pairs)
    size = len(model.single)

    def lower(d, total, different, count, below):
        return max(count - d, 0) / total + d * different / total * below

    def single(w):
        return lower(discount(kinds.values()), sum(kinds.values()), len(kinds), kinds[w], 1 / (size - 1))

    after = defaultdict(dict)
    for (b, c), n in spread.items():
        after[b][c] = n
    after_two = defaultdict(dict)
    for (a, b, c), n in triples.items():
        after_two[a, b][c] = n

    def mixed(table, d, w, below):
        return lower(d, sum(table.values()), len(table), table.get(w, 0), below) if table else below

    def pair(b, w):
        return mixed(after.get(b), discount(spread.values()), w, single(w))

    def triple(a, b, w):
        return pair(b, w) if b == START else mixed(after_two.get((a, b)), discount(triples.values()), w, pair(b, w))

    return triple


def in_order(sentences):
    """As `learn` goes through them."""
    from hashlib import blake2b

    return sorted(sentences, key=lambda s: blake2b("\n".join(s).encode(), digest_size=8).digest())


def test_it_is_the_definition():
    model = learn(SENTENCES)
    expected = by_definition(model, in_order(SENTENCES))
    size = len(model.single)
    seeded_rng = random.Random(0)
    contexts = [
        (0, START),
        *((seeded_rng.randrange(size), seeded_rng.choice([0, *range(3, size)])) for _ in range(200)),
    ]
    for before, last in contexts:
        words = np.array([w for w in range(size) if w != START])
        found = model.probabilities(np.full(len(words), before), np.full(len(words), last), words)
        np.testing.assert_allclose(found, [expected(before, last, w) for w in words], rtol=1e-12)


def test_probabilities_and_frequencies_sum_to_one():
    model = learn(SENTENCES)
    words = np.array([w for w in range(len(model.single)) if w != START])
    for before, last in [("a", "red"), ("on", "the"), ("xylophone", "is"), ("the", "the")]:
        context = model.numbers([before, last])
        found = model.probabilities(np.full(len(words), context[0]), np.full(len(words), context[1]), words)
        assert found.sum() == pytest.approx(1.0)
        assert (found > 0).all()
    assert model.single.sum() == pytest.approx(1.0)
    assert model.frequency.sum() == pytest.approx(1.0)
    assert model.single[START] == model.frequency[START] == 0


def test_a_tiny_corpus_by_hand():
    # "x y" twice; the first x and the first y are unknown, so the text is: START ? ? END START x y END.
    model = learn([["x", "y"], ["x", "y"]])
    assert model.words == {"x": 3, "y": 4}
    np.testing.assert_allclose(model.frequency, [2 / 6, 0, 2 / 6, 1 / 6, 1 / 6])
    # Pairs (START ?) (? ?) (? END) (START x) (x y) (y END): after how many words each comes: ? 2, END 2, x 1, y 1.
    d = 2 / (2 + 2 * 2)
    left = d * 4 / 6
    assert model.single[3] == pytest.approx((1 - d) / 6 + left / 4)
    assert model.single[END] == pytest.approx((2 - d) / 6 + left / 4)
    assert math.exp(model.gains(*np.array([[0], [START], [3]]))[0]) > 1


def test_a_word_in_its_place_gains_and_in_a_wrong_place_loses():
    model = learn(SENTENCES * 3)
    red, ball, on, the = model.numbers(["red", "ball", "on", "the"])
    good, bad = model.gains(np.array([red, ball]), np.array([on, on]), np.array([the, ball]))
    assert good > 0 > bad


def test_the_order_of_sentences_does_not_matter():
    one, other = learn(SENTENCES), learn(SENTENCES[::-1])
    assert one.words == other.words
    np.testing.assert_array_equal(one.triples.shares, other.triples.shares)


def test_new_words_are_unknown_and_words_met_once_too():
    model = learn(SENTENCES)
    assert "sees" not in model.words
    assert model.numbers(["sees", "xylophone"]).tolist() == [UNKNOWN, UNKNOWN]


def test_find():
    assert find(np.array([2, 5, 9]), np.array([5, 1, 9, 10])).tolist() == [1, -1, 2, -1]
    assert find(np.array([], dtype=np.int64), np.array([5])).tolist() == [-1]


def test_nothing_to_learn_from():
    with pytest.raises(ValueError, match="no sentence"):
        learn([[], []])
