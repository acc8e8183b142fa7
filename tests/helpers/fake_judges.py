"""Judges that need no model: each knows how good captions are, and errs in a way that a test can look for."""

from __future__ import annotations

import hashlib
import math

from capwright.judges.protocols import Preference


def chance(*parts: object) -> float:
    """A number in [0, 1) drawn by content."""
    digest = hashlib.blake2b(repr(parts).encode("utf-8"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


class FakeJudge:
    """Prefers a caption by the number at its end ("a toy 1.5"): log-odds `skill` times the difference.

    `skill` None is a judge that never errs. `bias` is what being shown first adds to the log-odds. `noisy`: the dice
    depend on the seed of the call; else the same pair always gets the same verdict. `fails` maps a word in one of the
    captions to a status. Captions of the same worth are a tie.
    """

    def __init__(self, skill=None, bias=0.0, noisy=True, fails=None):
        self.skill, self.bias, self.noisy, self.fails = skill, bias, noisy, dict(fails or {})
        self.signature = f"fake|skill:{skill}|bias:{bias}"
        self.asked: list[tuple] = []
        self.calls = 0

    def compare(self, asked, *, seed=0):
        self.calls += 1
        self.asked += asked
        return [self._one(*each, seed) for each in asked]

    def grade(self, axes, texts, *, seed=0):
        raise AssertionError("nobody grades here")

    def _one(self, image, first, second, reference, seed):
        for word, status in self.fails.items():
            if word in first + " " + second:
                return Preference(None, status, f"because of {word}")
        gap = worth(first) - worth(second)
        if self.skill is None and self.bias == 0:
            return Preference("tie" if gap == 0 else "first" if gap > 0 else "second")
        odds = (1e9 if self.skill is None else self.skill) * gap + self.bias
        wins = 1 / (1 + math.exp(-max(min(odds, 700), -700)))
        rng = chance(first, second, reference, seed if self.noisy else 0)
        return Preference("first" if rng < wins else "second")


def worth(caption: str) -> float:
    return float(caption.split()[-1])
