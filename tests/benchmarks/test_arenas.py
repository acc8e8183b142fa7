"""The benchmark of arenas: known strengths are mostly held by intervals, and a second order takes out the place."""

from __future__ import annotations

import arenas as bench


def test_arenas_find_what_was_planted():
    rows = bench.kindergarten(12, seed=0)
    ratings = {row["system"]: row["rating"] for row in rows if row["part"] == "kindergarten"}
    assert max(ratings, key=ratings.get) == "expert"
    assert all(row["score"] > 50 for row in rows if row["part"] == "opponents")
    (held,) = bench.intervals(2, 60, seed=1)
    assert held["intervals"] == 6
    assert held["held"] >= 3
    spreads = {(row["odds"], row["orders"]): row["sd"] for row in bench.places(20, 100)}
    assert spreads[20, "both"] < 0.6 * spreads[20, "paper"]
