from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from capwright.scorers import Corpus, Item, Length
from capwright.scorers.fluency.length import count_sentences, count_words
from capwright.types import Sample

SAMPLE = Sample("a", Path("x"))


@pytest.mark.parametrize(
    ("text", "words", "sentences"),
    [
        ("A child's geo-board.", 4, 1),
        ("One. Two! Three?", 3, 3),
        ("It is 3.5 m long", 6, 1),
        ("孩子在玩。积木！", 6, 2),
        ("No end mark", 3, 1),
        ("Wait... what?!", 2, 2),
        ('He said "Go." Then left.', 5, 2),
        ("", 0, 0),
        ("...", 0, 0),
        ("A dog! - . A cat.", 4, 2),  # a mark alone says nothing
        ("Café au lait", 3, 1),
    ],
)
def test_counts(text, words, sentences):
    assert (count_words(text), count_sentences(text)) == (words, sentences)


def test_means_and_the_share_cut_off():
    scorer = Length()
    context = scorer.prepare(Corpus([]))
    items = [Item(SAMPLE, " two words "), Item(SAMPLE, "", "ok"), Item(SAMPLE, "x y z w", finish="length")]
    stats = scorer.stats([*items, Item(SAMPLE, "not counted", "refusal")], context)
    assert stats.status == ("ok", "empty", "ok", "refusal")
    np.testing.assert_allclose(scorer.finalize(stats.rows.sum(0)), [2, 16 / 3, 2 / 3, 1 / 3])
    assert np.isnan(scorer.finalize(np.zeros(5))).all()
    assert scorer.signature(context) == "length|v:1"
