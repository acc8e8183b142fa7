from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capwright.evaluation import bootstrap_sums, intervals, paired_differences, statistics
from capwright.scorers.base import ratio


def finalize(summed):
    """One output: a ratio of sums."""
    return ratio(summed[..., :1], summed[..., 1:2])


def draw(rng, n, rate=0.4):
    terms = rng.integers(1, 5, size=n)
    return np.stack([rng.binomial(terms, rate), terms], axis=1).astype(float)


def test_sums_are_those_of_drawing_images_one_by_one():
    rows = draw(np.random.default_rng(1), 7)
    sums = bootstrap_sums(rows, replicates=5, seed=3)
    rng = np.random.default_rng(3)
    drawn = rng.integers(7, size=(5, 7))
    np.testing.assert_allclose(sums, rows[drawn].sum(1))


def test_chunks_do_not_change_the_draw(monkeypatch):
    rows = draw(np.random.default_rng(1), 50)
    whole = bootstrap_sums(rows, 40, seed=5)
    monkeypatch.setattr(statistics, "_CELLS", 170)
    np.testing.assert_array_equal(bootstrap_sums(rows, 40, seed=5), whole)
    assert not np.array_equal(bootstrap_sums(rows, 40, seed=6), whole)


def test_nothing_to_draw():
    assert bootstrap_sums(np.zeros((0, 3)), 10).tolist() == [[0, 0, 0]] * 10
    assert bootstrap_sums(np.ones((3, 2)), 0).shape == (0, 2)
    low, high = intervals(np.zeros((0, 2)))
    assert np.isnan([low, high]).all()


def test_intervals_are_quantiles_of_what_is_defined():
    scores = np.arange(101, dtype=float)[:, None].repeat(2, axis=1)
    scores[:4, 0] = np.nan
    scores[:40, 1] = np.nan
    low, high = intervals(scores, 0.9)
    assert (low[0], high[0]) == pytest.approx(np.quantile(np.arange(4, 101), [0.05, 0.95]))
    assert np.isnan(low[1])
    with pytest.raises(ValueError, match="level"):
        intervals(scores, 95)


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        low, high = intervals(finalize(bootstrap_sums(draw(rng, 80), 300, seed=trial)))
        covered += bool(low[0] <= 0.4 <= high[0])
    assert 0.89 <= covered / 200 <= 0.985


def test_a_paired_test_of_equals_seldom_finds_a_difference():
    rng = np.random.default_rng(0)
    found = 0
    for trial in range(200):
        a = draw(rng, 80)
        b = np.stack([rng.binomial(a[:, 1].astype(int), 0.4), a[:, 1]], axis=1).astype(float)
        (d,) = paired_differences(a, b, finalize, 300, seed=trial)
        assert (d.p < 0.05) == (not d.low <= 0 <= d.high) or 0.03 < d.p < 0.08
        found += d.p < 0.05
    assert found / 200 <= 0.11


def test_pairing_sees_a_small_but_steady_gain():
    rng = np.random.default_rng(0)
    a = draw(rng, 200)
    b = a.copy()
    b[::10, 0] = np.minimum(b[::10, 0] + 1, b[::10, 1])
    (d,) = paired_differences(a, b, finalize)
    assert d.difference == pytest.approx((finalize(b.sum(0)) - finalize(a.sum(0)))[0])
    assert 0 < d.low < d.difference < d.high
    assert d.p < 0.05
    (back,) = paired_differences(b, a, finalize)
    assert (back.difference, back.low, back.high, back.p) == pytest.approx((-d.difference, -d.high, -d.low, d.p))


def test_no_difference_and_nothing_known():
    a = draw(np.random.default_rng(0), 20)
    (same,) = paired_differences(a, a, finalize)
    assert (same.difference, same.low, same.high, same.p) == (0, 0, 0, 1)
    (nothing,) = paired_differences(np.zeros((5, 2)), a[:5], finalize)
    assert (nothing.difference, nothing.low, nothing.high, nothing.p) == (None, None, None, None)
    (one,) = paired_differences(a[:1], a[:1], finalize)
    assert (one.difference, one.low, one.p) == (0, None, None)
    with pytest.raises(ValueError, match="same shape"):
        paired_differences(a, a[:3], finalize)


@given(st.integers(0, 10_000), st.integers(5, 60))
def test_intervals_hold_the_point_estimate_of_ordinary_data(seed, n):
    rows = draw(np.random.default_rng(seed), n)
    low, high = intervals(finalize(bootstrap_sums(rows, 200, seed)))
    assert low[0] <= finalize(rows.sum(0))[0] <= high[0]


@given(st.integers(0, 10_000))
def test_the_order_of_images_moves_no_point_estimate(seed):
    rng = np.random.default_rng(seed)
    a, b = draw(rng, 30), draw(rng, 30)
    order = rng.permutation(30)
    (before,) = paired_differences(a, b, finalize, 50)
    (after,) = paired_differences(a[order], b[order], finalize, 50)
    assert before.difference == pytest.approx(after.difference)
