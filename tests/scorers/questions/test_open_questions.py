"""Answers in free words against the key, each by hand."""

from __future__ import annotations

import random

import pytest

from capwright.scorers.questions._open_questions import RULES, anls, exact, relaxed


@pytest.mark.parametrize(
    ("said", "right", "worth"),
    [
        ("Dark  red.", "dark red", 1),
        ("red", "dark red", 0),
        ("STRASSE", "straße", 1),
        ("12", "12.0", 0),  # letters, not numbers
    ],
)
def test_exact(said, right, worth):
    assert exact(said, right) == worth


@pytest.mark.parametrize(
    ("said", "right", "worth"),
    [
        ("105", "100", 1),
        ("95", "100", 1),
        ("105.1", "100", 0),
        ("94.9", "100", 0),
        ("-105", "-100", 1),
        ("100", "-100", 0),
        ("\N{MINUS SIGN}100", "-100", 1),
        ("0", "0", 1),
        ("0.001", "0", 0),  # 5 % of nothing is nothing
        ("1,240", "1200", 1),
        ("$1,240.50.", "€ 1200", 1),
        ("1,24", "124", 0),  # no thousands: not a number
        ("12%", "12", 1),
        ("0.12", "12 %", 1),
        ("12%", "0.12", 1),
        ("12%", "1200", 0),
        ("1200", "12", 0),  # a hundred times as much is no nearness
        ("12%", "12.5%", 1),
        ("12 people", "12", 0),
        ("Blue", "blue", 1),
        ("blue", "12", 0),
        ("anything", "n/a", 0),  # a key that is no number is never matched by everything
        ("", "n/a", 0),
    ],
)
def test_relaxed(said, right, worth):
    assert relaxed(said, right) == worth


@pytest.mark.parametrize(
    ("said", "right", "worth"),
    [
        ("Coca Cola", "coca cola", 1),
        ("kitten", "sitting", 1 - 3 / 7),  # k-s, e-i, +g
        ("cola", "coca cola", 0),  # 5 of 9
        ("ab", "abcd", 0),  # exactly a half
        ("abc", "abcd", 0.75),
        ("x", "abcdefghij", 0),
        ("", "word", 0),
        ("naïve", "naive", 0.8),
    ],
)
def test_anls(said, right, worth):
    assert anls(said, right) == pytest.approx(worth)
    assert anls(right, said) == pytest.approx(worth)


def test_a_rule_gives_from_0_to_1_and_1_for_the_key():
    seeded_rng = random.Random(0)
    for _ in range(300):
        said, right = ("".join(seeded_rng.choices("ab1.,%- ", k=seeded_rng.randint(1, 8))) + "c" for _ in range(2))
        assert all(0 <= rule(said, right) <= 1 and rule(right, right) == 1 for rule in RULES.values())
