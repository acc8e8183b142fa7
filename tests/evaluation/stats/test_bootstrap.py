from __future__ import annotations

import os
import subprocess
import sys
import time
from fractions import Fraction
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capwright.evaluation import bootstrap_sums, intervals
from capwright.evaluation.stats import bootstrap as statistics
from capwright.evaluation.stats.bootstrap import draw_weights, left_out_sums, sum_by_cluster, weigher
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


def test_weighted_sums_are_exact():
    rng = np.random.default_rng(4)
    rows = rng.normal(0, 1, (3000, 4)) * [1, 1e-300, 1e250, 0] * 10.0 ** rng.integers(-3, 3, (3000, 4))
    weights = rng.integers(0, 3, (2, 3000)).astype(float)
    sums = weigher(rows, int(weights.sum(1).max()))(weights)
    for which, column in np.ndindex(sums.shape):
        pairs = zip(weights[which].tolist(), rows[:, column].tolist())
        assert sums[which, column] == float(sum(Fraction(weight) * Fraction(value) for weight, value in pairs))


PRINT_SUMS = """
import numpy as np
from capwright.evaluation.stats.significance import paired_differences
from capwright.evaluation.stats.bootstrap import bootstrap_sums
rng = np.random.default_rng(0)
print(bootstrap_sums(rng.lognormal(0, 2, (5000, 24)), 300, 1).tobytes().hex())
a, b = rng.lognormal(0, 2, (2, 800, 8))
print(paired_differences(a, b, lambda rows: rows[..., 1:] / rows[..., :1], replicates=200, trials=300))
"""


def test_the_number_of_threads_changes_no_digit():
    printed = set()
    for threads in ("1", "4"):
        environment = os.environ | {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        command = [sys.executable, "-c", PRINT_SUMS]
        printed.add(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)
    assert len(printed) == 1
    assert len(printed.pop()) > 100_000


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


def test_the_first_replicates_stay_the_same_when_there_are_more():
    rows = draw(np.random.default_rng(1), 40)
    np.testing.assert_array_equal(bootstrap_sums(rows, 50, 2), bootstrap_sums(rows, 500, 2)[:50])


def test_weights_draw_as_many_clusters_as_there_are():
    (first, weights), *more = draw_weights(30, 20, seed=1)
    assert first == 0
    assert not more
    assert weights.shape == (20, 30)
    assert weights.sum(1).tolist() == [30] * 20
    assert list(draw_weights(0, 20)) == []


def test_a_bca_interval_by_hand():
    rows = np.array([[3.0, 1.0], [5.0, 1.0], [10.0, 1.0]])
    left_out = finalize(left_out_sums(rows))
    assert left_out[:, 0].tolist() == [7.5, 6.5, 4.0]
    # Jackknife: the mean left-out score is 6; differences are -1.5, -0.5, 2; cubes sum to 4.5, squares to 6.5.
    acceleration = 4.5 / (6 * 6.5**1.5)
    scores = np.arange(1.0, 10.0)[:, None]  # 5 of 9 below 6, one equal: the share below is 5.5 / 9
    normal = NormalDist()
    bias = normal.inv_cdf(5.5 / 9)
    shares = []
    for share in (0.05, 0.95):
        z = bias + normal.inv_cdf(share)
        shares.append(normal.cdf(bias + z / (1 - acceleration * z)))
    low, high = intervals(scores, 0.9, "bca", point=np.array([6.0]), left_out=left_out)
    assert (low[0], high[0]) == pytest.approx([1 + 8 * share for share in shares])
    assert low[0] > np.quantile(scores, 0.05)


def test_bca_of_a_symmetric_score_is_the_percentile_interval():
    scores = np.concatenate([np.arange(-50.0, 51.0)])[:, None]
    left_out = np.array([[-1.0], [0.0], [1.0]])
    bca = intervals(scores, 0.9, "bca", point=np.zeros(1), left_out=left_out)
    np.testing.assert_allclose(bca, intervals(scores, 0.9), atol=1e-9)


def test_bca_where_nothing_varies_and_where_it_is_undefined():
    rows = np.ones((20, 2)) * [0.1, 1]
    sums = bootstrap_sums(rows, 100)
    low, high = intervals(
        finalize(sums), 0.95, "bca", point=finalize(rows.sum(0)), left_out=finalize(left_out_sums(rows))
    )
    assert (low[0], high[0]) == pytest.approx((0.1, 0.1))
    scores = np.arange(10.0)[:, None]
    fine = np.array([[1.0], [2.0], [4.0]])
    for point, left_out in ((np.nan, fine), (5.0, fine * [[np.nan], [1], [1]]), (-1.0, fine), (99.0, fine)):
        found = intervals(scores, 0.95, "bca", point=np.array([point]), left_out=left_out)
        assert np.isnan(found).all()
    with pytest.raises(ValueError, match="left out"):
        intervals(scores, method="bca")
    with pytest.raises(ValueError, match="percentile, bca"):
        intervals(scores, method="normal")


def test_bca_covers_a_rare_share_better_than_percentiles():
    """One mention in 20 is wrong, on 40 images: the replicates are skewed, percentile intervals end too low."""
    rng = np.random.default_rng(1)
    missed = {"percentile": [0, 0], "bca": [0, 0]}
    trials = 600
    for trial in range(trials):
        mentions = rng.integers(1, 6, 40)
        rows = np.stack([rng.binomial(mentions, 0.05), mentions], axis=1).astype(float)
        drawn = finalize(bootstrap_sums(rows, 1000, trial))
        rest = {"point": finalize(rows.sum(0)), "left_out": finalize(left_out_sums(rows))}
        for method, count in missed.items():
            low, high = intervals(drawn, 0.95, method, **rest)
            count[0] += not low[0] <= 0.05
            count[1] += not high[0] >= 0.05
    share = {method: sum(count) / trials for method, count in missed.items()}
    assert abs(share["bca"] - 0.05) < abs(share["percentile"] - 0.05)
    assert share["bca"] == pytest.approx(0.05, abs=0.02)
    assert missed["percentile"][1] > 2 * missed["percentile"][0], "misses should be lopsided"
    assert missed["bca"][1] < 2 * missed["bca"][0]


def test_clusters_are_summed_in_the_order_in_which_they_appear():
    rows = np.arange(10.0).reshape(5, 2)
    summed = sum_by_cluster(rows, ["b", "a", "b", "c", "a"])
    assert summed.tolist() == [[0 + 4, 1 + 5], [2 + 8, 3 + 9], [6, 7]]
    assert sum_by_cluster(rows, np.array([3, 1, 3, 2, 1])).tolist() == summed.tolist()
    assert sum_by_cluster(rows, list("vwxyz")).tolist() == rows.tolist()
    assert sum_by_cluster(rows[:0], []).shape == (0, 2)
    with pytest.raises(ValueError, match="2 for 5 rows"):
        sum_by_cluster(rows, ["a", "b"])


def test_intervals_that_ignore_clusters_are_too_narrow():
    rng = np.random.default_rng(5)
    covered = {"ignored": 0, "used": 0}
    group = np.repeat(np.arange(40), 5)
    for trial in range(200):
        values = rng.normal(0, 1, 40)[group] + rng.normal(0, 1, 200)
        rows = np.stack([values, np.ones(200)], axis=1)
        for how, units in (("ignored", rows), ("used", sum_by_cluster(rows, group))):
            low, high = intervals(finalize(bootstrap_sums(units, 300, trial)))
            covered[how] += bool(low[0] <= 0 <= high[0])
    assert covered["used"] / 200 > 0.88
    assert covered["ignored"] / 200 < 0.85


def test_a_thousand_replicates_of_five_thousand_images_take_no_time():
    rows = np.random.default_rng(0).random((5000, 16))
    start = time.process_time()
    sums = bootstrap_sums(rows, 1000)
    assert time.process_time() - start < 1
    np.testing.assert_allclose(sums.mean(0), rows.sum(0), rtol=0.01)


@given(st.integers(0, 10_000), st.integers(5, 60))
def test_intervals_hold_the_point_estimate_of_ordinary_data(seed, n):
    rows = draw(np.random.default_rng(seed), n)
    low, high = intervals(finalize(bootstrap_sums(rows, 200, seed)))
    assert low[0] <= finalize(rows.sum(0))[0] <= high[0]
