"""Longest common subsequences against the textbook table, with texts on both sides of 64 words."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from capwright.text.subsequence import common_lengths, common_words

WORDS = st.lists(st.integers(0, 3), min_size=1, max_size=12)
LONG = st.integers(60, 70).flatmap(lambda size: st.lists(st.integers(0, 9), min_size=size, max_size=size))


def table(one, other) -> int:
    """The textbook: a row for each word."""
    row = [0] * (len(other) + 1)
    for word in one:
        row = [0, *row[1:]]
        before = 0
        for j, against in enumerate(other, 1):
            above = row[j]
            row[j] = before + 1 if word == against else max(above, row[j - 1])
            before = above
    return row[-1]


def lengths_of(groups) -> list[int]:
    texts = [text for group in groups for text in group]
    codes = np.array([word for text in texts for word in text], dtype=np.int32)
    number = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    return common_lengths(codes, np.array([len(text) for text in texts]), number).tolist()


@given(st.lists(st.lists(st.one_of(WORDS, LONG), min_size=1, max_size=4), min_size=1, max_size=4))
@settings(deadline=None)
def test_lengths_equal_the_textbook(groups):
    assert lengths_of(groups) == [table(group[0], text) for group in groups for text in group]


def test_lengths_at_64_words():
    for size in (63, 64, 65, 200):
        text = list(range(size))
        assert lengths_of([[text, text, text[::-1], text[1:], text * 2]]) == [size, size, 1, size - 1, size]
        assert lengths_of([[[1], [1]], [text, [size - 1], [0]]]) == [1, 1, size, 1, 1]


@given(WORDS, WORDS)
def test_words_are_a_common_subsequence_as_long_as_any(one, other):
    common = common_words(one, other)
    assert len(common) == table(one, other)
    for words in (one, other):
        rest = iter(words)
        assert all(word in rest for word in common)  # in order, in both


def test_of_several_the_one_that_begins_first():
    assert common_words("ab", "ba") == ["a"]
    assert common_words("", "a") == []
