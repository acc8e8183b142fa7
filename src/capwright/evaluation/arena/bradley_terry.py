"""How strong is each system, given who beat whom? Bradley-Terry and Elo, for many resamples at once.

Verdicts are counted by ordered pairs of systems, in the order of `ordered_pairs`: (shown first, shown second). A tie is
half a win of each (the choice of most leaderboards; models with a parameter for ties exist, such as Davidson's of
1970, and are not used here).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from capwright.arrays import Floats

#: Ratings are shown on the scale of chess: 400 points are odds of 10 to 1, and the average system has 1000.
BASE, SCALE = 1000.0, 400.0
#: Precision of the normal prior of each log-odds: so weak that it matters only for systems that win or lose everything.
RIDGE = 0.01
#: What one game can move an Elo rating by.
K_FACTOR = 4.0

_STEPS = 100
_LONGEST = 2.0
_CLOSE = 1e-10


def ordered_pairs(systems: int) -> list[tuple[int, int]]:
    """All (first, second) of different systems: (0, 1), (0, 2), ..., (1, 0), ..."""
    return [(i, j) for i in range(systems) for j in range(systems) if i != j]


def bradley_terry(games: Floats, wins: Floats, systems: int, ridge: float = RIDGE) -> tuple[Floats, Floats]:
    """Strengths [..., K] and the advantage of the first place [...], in log-odds, of counts [..., K (K - 1)].

    The model (Bradley and Terry 1952, with the order effect of Davidson and Beaver 1977): the one shown first wins with
    probability sigmoid(strength of the first - strength of the second + advantage). It is fitted to `games` verdicts
    and `wins` of the first place (a tie counts half) by Newton's method with a normal prior of precision `ridge` on
    every parameter, so that a system that never loses has a finite strength, and strengths add up to 0. Counts need not
    be whole numbers.

    Strengths of systems that no chain of games joins say nothing about each other: ask `joined` first.
    """
    pairs = ordered_pairs(systems)
    design = np.zeros((len(pairs), systems + 1))
    for row, (first, second) in enumerate(pairs):
        design[row, first], design[row, second], design[row, -1] = 1.0, -1.0, 1.0
    shape = games.shape[:-1]
    games, wins = games.reshape(-1, len(pairs)), wins.reshape(-1, len(pairs))
    squares = (design[:, :, None] * design[:, None, :]).reshape(len(pairs), -1)
    found = np.zeros((len(games), systems + 1))
    prior = ridge * np.eye(systems + 1)
    for _ in range(_STEPS):
        expected = 1 / (1 + np.exp(-np.clip(found @ design.T, -500, 500)))
        slope = (wins - games * expected) @ design - ridge * found
        curve = ((games * expected * (1 - expected)) @ squares).reshape(-1, systems + 1, systems + 1) + prior
        step = np.linalg.solve(curve, slope[..., None])[..., 0]
        length = np.abs(step).max(-1, keepdims=True, initial=0)
        # A full Newton step can leap too far where curvature is small; the way is right, so walk it in pieces.
        found += step * np.minimum(1, _LONGEST / np.maximum(length, _LONGEST))
        if length.max(initial=0) < _CLOSE:
            break
    return found[:, :-1].reshape(*shape, systems), found[:, -1].reshape(shape)


def rating(strength: Floats) -> Floats:
    """Log-odds as a rating: 1000 for 0, 400 points for odds of 10."""
    return BASE + SCALE / np.log(10) * strength


def joined(games: Floats, systems: int) -> NDArray[np.bool_]:
    """bool [K]: which systems are in the largest group that games [K (K - 1)] join; of groups as large, the first.

    Strictly, a Bradley-Terry strength without a prior needs wins in both directions as well; the prior stands in there.
    """
    met = np.eye(systems, dtype=bool)
    for (first, second), count in zip(ordered_pairs(systems), games):
        met[[first, second], [second, first]] |= count > 0
    for _ in range(systems):
        met = (met.astype(np.int64) @ met.astype(np.int64)) > 0
    if systems == 0:
        return np.zeros(0, dtype=bool)
    group = met[int(np.argmax(met.sum(1)))]
    return group & (group.sum() > 1)


def elo(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    score: Floats,
    orders: NDArray[np.integer[Any]],
    systems: int,
    k_factor: float = K_FACTOR,
) -> Floats:
    """Elo ratings [R, K] after games that are played in the orders [R, T], each with its own order.

    Args:
        first, second: the systems of each game [N].
        score: of the first [N]: 1 won, 0.5 tie, 0 lost.
        orders: numbers of games, each row one history; N stands for no game, so that rows can be of different length.
        k_factor: what a game can move a rating by.

    Ratings start at 1000. An Elo rating hangs on the order of games, the last ones count most: average over orders.
    """
    first, second = np.append(first, 0), np.append(second, 0)
    score, weight = np.append(score, 0.5), np.append(np.full(len(score), k_factor), 0.0)
    ratings = np.full(len(orders) * systems, BASE)
    rows = np.arange(len(orders)) * systems
    for games in np.ascontiguousarray(orders.T):
        a, b = rows + first[games], rows + second[games]
        expected = 1 / (1 + 10 ** ((ratings[b] - ratings[a]) / SCALE))
        change = weight[games] * (score[games] - expected)
        ratings[a] += change
        ratings[b] -= change
    return ratings.reshape(len(orders), systems)
