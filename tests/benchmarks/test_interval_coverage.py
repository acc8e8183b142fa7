"""The simulation of intervals and tests: what it takes for the truth is true, and its systems are alike."""

from __future__ import annotations

import numpy as np
import pytest

import interval_coverage as bench

CELLS = {f"{kind} {data}": (truth, limits, draw) for kind, data, truth, limits, draw in bench.coverage_cells()}


@pytest.mark.parametrize("cell", CELLS)
def test_the_truth_is_true(cell):
    truth, limits, draw = CELLS[cell]
    above, below = draw(np.random.default_rng(0), (100_000, 1))
    moves = (above - truth * below)[:, 0] / below.sum()
    assert abs(moves.sum()) < 4.5 * np.sqrt((moves**2).sum())
    assert (below >= 0).all()
    if np.isfinite(limits[1]):
        assert (above <= limits[1] * below).all()
        assert (above >= limits[0] * below).all()


@pytest.mark.parametrize("data", bench.TESTED)
def test_equal_systems_are_equal(data):
    (a, names), (b, others) = bench.alike(np.random.default_rng(1), data, (100_000, 1))
    gains = (b / others - a / names)[:, 0]
    assert abs(gains.mean()) < 4.5 * gains.std() / 100_000**0.5
    assert np.corrcoef(a[:, 0] / names[:, 0], b[:, 0] / others[:, 0])[0, 1] > 0.1, "what is hard is hard for both"


def test_rows_say_how_often_intervals_hold_the_truth():
    rows = {f"{row['kind']} {row['data']}": row for row in bench.measure_coverage(20, 100)}
    assert rows.keys() == CELLS.keys()
    zero = rows["share 0.02"]
    assert zero["jackknife"] == pytest.approx(1 - zero["jackknife_below"] - zero["jackknife_above"])
    assert zero["jackknife"] > 0.9 > zero["percentile"]
    assert zero["wider"] == pytest.approx(zero["jackknife_width"] / zero["percentile_width"])
    tests = list(bench.measure_tests(10, 50))
    assert [row["data"] for row in tests] == list(bench.TESTED)
    assert all(0 <= row["randomization"] <= 0.2 for row in tests)
