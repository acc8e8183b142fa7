"""Bradley-Terry and Elo: by hand, against planted strengths, and where there is little to go by."""

from __future__ import annotations

import math

import numpy as np
import pytest

from capwright.evaluation.arena.bradley_terry import bradley_terry, elo, joined, ordered_pairs, rating


def expected_counts(strengths, advantage, games=100.0):
    pairs = ordered_pairs(len(strengths))
    odds = np.array([strengths[i] - strengths[j] + advantage for i, j in pairs])
    return np.full(len(pairs), games), games / (1 + np.exp(-odds))


def test_two_systems_by_hand():
    # Shown first or second, A wins 3 of 4: odds 3, a difference of log 3.
    games, wins = np.array([400.0, 400.0]), np.array([300.0, 100.0])
    strengths, advantage = bradley_terry(games, wins, 2)
    assert strengths[0] - strengths[1] == pytest.approx(math.log(3), abs=1e-4)
    assert strengths.sum() == pytest.approx(0, abs=1e-9)
    assert advantage == pytest.approx(0, abs=1e-9)
    assert rating(strengths)[0] - rating(strengths)[1] == pytest.approx(190.85, abs=0.02)  # 400 * log10(3)


def test_planted_strengths_and_advantage_come_back():
    planted = np.array([1.0, 0.2, -0.3, -0.9])
    strengths, advantage = bradley_terry(*expected_counts(planted, 0.4), 4, ridge=1e-9)
    assert strengths == pytest.approx(planted, abs=1e-6)
    assert advantage == pytest.approx(0.4, abs=1e-6)


def test_the_gradient_is_zero_at_the_optimum():
    rng = np.random.default_rng(3)
    pairs = ordered_pairs(5)
    games = rng.integers(0, 30, len(pairs)).astype(float)
    wins = np.floor(games * rng.random(len(pairs)) * 2) / 2
    strengths, advantage = bradley_terry(games, wins, 5, ridge=0.01)
    slope = -0.01 * strengths
    for (i, j), n, w in zip(pairs, games, wins):
        miss = w - n / (1 + math.exp(-(strengths[i] - strengths[j] + advantage)))
        slope[i] += miss
        slope[j] -= miss
    assert slope == pytest.approx(np.zeros(5), abs=1e-7)


def test_one_that_never_loses_is_finite_and_first():
    games = np.full(6, 200.0)
    wins = np.array([200.0, 200.0, 0.0, 100.0, 0.0, 100.0])  # (0,1) (0,2) (1,0) (1,2) (2,0) (2,1)
    strengths, _ = bradley_terry(games, wins, 3)
    assert np.isfinite(strengths).all()
    assert strengths[0] > 4
    assert strengths[1] == pytest.approx(strengths[2], abs=1e-9)


def test_many_tables_at_once_are_each_alone():
    rng = np.random.default_rng(0)
    games = rng.integers(1, 50, (7, 2, 6)).astype(float)
    wins = np.floor(games * rng.random(games.shape))
    strengths, advantage = bradley_terry(games, wins, 3)
    assert strengths.shape == (7, 2, 3)
    assert advantage.shape == (7, 2)
    alone, _ = bradley_terry(games[4, 1], wins[4, 1], 3)
    assert strengths[4, 1] == pytest.approx(alone, abs=1e-8)


def test_ties_are_half_a_win_each():
    strengths, _ = bradley_terry(np.array([10.0, 0.0]), np.array([5.0, 0.0]), 2)
    assert strengths == pytest.approx([0, 0], abs=1e-9)


def test_who_is_joined():
    pairs = ordered_pairs(5)
    games = np.array([float({i, j} in ({0, 1}, {2, 3}, {3, 4})) for i, j in pairs])
    assert joined(games, 5).tolist() == [False, False, True, True, True]
    assert joined(np.zeros(6), 3).tolist() == [False, False, False]


def test_elo_by_hand():
    # 1000 against 1000: the winner takes 2 of K = 4; then 1002 against 998 has expectation 0.5058.
    games = np.array([[0, 1], [0, 2]])  # two histories; game 2 is none
    ratings = elo(np.array([0, 0]), np.array([1, 1]), np.array([1.0, 0.0]), games, 2)
    assert ratings[1].tolist() == [1002, 998]
    expectation = 1 / (1 + 10 ** (-4 / 400))
    assert ratings[0, 0] == pytest.approx(1002 - 4 * expectation)
    assert ratings.sum(1).tolist() == [2000, 2000]


def test_elo_hangs_on_the_order():
    first, second, score = np.array([0] * 20), np.array([1] * 20), np.array([1.0] * 10 + [0.0] * 10)
    forward, backward = elo(first, second, score, np.stack([np.arange(20), np.arange(20)[::-1]]), 2)
    assert forward[0] < 1000 < backward[0]
