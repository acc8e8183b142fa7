"""The benchmark of manners: what was not learned counts as bad language."""

from __future__ import annotations

import pytest

import language_manners as bench


def test_the_checks_of_sentences_are_what_the_page_shows():
    whole, _, cut, names, *_ = (row["language"] for row in bench.examples(quick=True))
    assert whole == 1
    assert cut == pytest.approx(2 / 3)
    assert names < 0.1


def test_a_manner_that_was_learned_scores_higher():
    found = {(row["captions"], row["learned_from"]): row["language"] for row in bench.manners(quick=True)}
    assert found["casual", "references"] < found["casual", "references and casual"]
    assert found["expert", "references"] > 0.9
