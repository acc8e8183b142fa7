"""Verdicts as numbers: what an image adds to every count of an arena, so that resampling images is resampling rows.

Two captions of an image, shown in the orders that were asked for, are a battle. A battle with a verdict that is unknown
is unknown as a whole: with one order alone, the place would count for one of the two.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from capwright.arrays import Floats
from capwright.evaluation.arena.bradley_terry import ordered_pairs
from capwright.evaluation.arena.judgements import Judgement
from capwright.scorers.base import ratio

_SCORE = {"first": 1.0, "tie": 0.5, "second": 0.0}
#: Shares that say how the judge judges; each has a numerator and a denominator in the row of an image.
SHARES = ("first_place", "agreement", "repeated", "longer", "ties")


class Outcomes:
    """Verdicts of known battles as numbers.

    Attributes:
        width: ordered pairs of systems.
        rows: [images, 2 * width + 10] games and wins of ordered pairs, then (numerator, denominator) of each share.
        first, second, score, image, pair: of each verdict that counts; `pair` is the column of its ordered pair.
        lost: the two systems of each unknown battle.
    """

    def __init__(self, every: Sequence[Judgement], names: Sequence[str]) -> None:
        pairs = ordered_pairs(len(names))
        self.width = len(pairs)
        column = {pair: n for n, pair in enumerate(pairs)}
        number = {name: n for n, name in enumerate(names)}
        battles: dict[tuple[str, frozenset[str], int], list[Judgement]] = {}
        for one in every:
            battles.setdefault((one.image, frozenset((one.first, one.second)), one.repeat), []).append(one)
        self.lost = [key[1] for key, shown in battles.items() if any(one.status != "ok" for one in shown)]
        kept = [shown for shown in battles.values() if all(one.status == "ok" for one in shown)]
        self._counted = [one for shown in kept for one in shown]
        self._shown = np.array([1 / len(shown) for shown in kept for _ in shown])
        self.first = np.array([number[one.first] for one in self._counted], dtype=np.int64)
        self.second = np.array([number[one.second] for one in self._counted], dtype=np.int64)
        self.score = np.array([_SCORE[str(one.better)] for one in self._counted])
        self.pair = np.array([column[number[one.first], number[one.second]] for one in self._counted], dtype=np.int64)
        codes = {image: n for n, image in enumerate(dict.fromkeys(one.image for one in self._counted))}
        self.image = np.array([codes[one.image] for one in self._counted], dtype=np.int64)
        self.rows = np.zeros((len(codes), 2 * self.width + 2 * len(SHARES)))
        np.add.at(self.rows, (self.image, self.pair), 1.0)
        np.add.at(self.rows, (self.image, self.width + self.pair), self.score)
        earlier: dict[tuple[str, str, str], str | None] = {}
        for one in sorted(self._counted, key=lambda one: one.repeat):
            decided = one.asked and one.better != "tie"
            self._share(codes, one, "ties", one.better == "tie", one.asked)
            self._share(codes, one, "first_place", one.better == "first", decided)
            longer = (one.better == "first") == (one.words[0] > one.words[1])
            self._share(codes, one, "longer", longer, decided and one.words[0] != one.words[1])
            asked_before = one.key[:3] in earlier  # not so where the answer of the first time is unknown
            same = earlier.setdefault(one.key[:3], one.better) == one.better
            self._share(codes, one, "repeated", same, one.asked and asked_before)
        for shown in kept:
            if len(shown) == 2 and all(one.asked for one in shown):
                preferred = {None if s.better == "tie" else getattr(s, str(s.better)) for s in shown}
                self._share(codes, shown[0], "agreement", len(preferred) == 1, True)

    def _share(self, codes: dict[str, int], one: Judgement, share: str, holds: bool, counts: bool) -> None:
        at = 2 * self.width + 2 * SHARES.index(share)
        self.rows[codes[one.image], at : at + 2] += (holds and counts, counts)

    def games_and_wins(self, counts: Floats) -> tuple[Floats, Floats]:
        """Of ordered pairs [..., width], in sums of rows [..., k]."""
        return counts[..., : self.width], counts[..., self.width : 2 * self.width]

    def habits(self, counts: Floats) -> Floats:
        """The shares that say how the judge judges [..., 5], in sums of rows [..., k]."""
        return ratio(counts[..., 2 * self.width :: 2], counts[..., 2 * self.width + 1 :: 2])

    def outcomes(self, k: int) -> tuple[float, float, float]:
        """(wins, losses, ties) of a system in battles."""
        won = np.where(self.first == k, self.score, 1 - self.score)
        own = (self.first == k) | (self.second == k)
        wins, losses, ties = (float(self._shown[own & (won == score)].sum()) for score in (1, 0, 0.5))
        return wins, losses, ties

    def battles(self, *columns: int) -> float:
        """How many battles there are in columns of ordered pairs."""
        return float(self._shown[np.isin(self.pair, columns)].sum())

    def words(self, name: str) -> float | None:
        """Mean length of a system's captions, each image once; None where no verdict of the arena tells lengths."""
        lengths = {one.image: one.words[one.second == name] for one in self._counted if name in (one.first, one.second)}
        told = any(any(one.words) for one in self._counted)
        return sum(lengths.values()) / len(lengths) if lengths and told else None
