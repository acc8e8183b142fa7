from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capwright.evaluation import bootstrap_sums, evaluate, intervals
from capwright.evaluation.stats.bootstrap import sum_by_cluster
from capwright.evaluation.stats.intervals import How, estimate, ranges_of_differences
from capwright.evaluation.stats.jackknife import jackknife, student_quantile
from capwright.scorers.base import ratio
from capwright.types import NO_IMAGE, Sample

UNIT = np.array([[0.0, 1.0]])
Z = NormalDist().inv_cdf(0.975)


def finalize(summed):
    """Ratios of sums: the first half of the columns over the second."""
    half = summed.shape[-1] // 2
    return ratio(summed[..., :half], summed[..., half:])


def means(values):
    """Rows of a mean of values [C]."""
    values = np.asarray(values, dtype=float)
    return np.stack([values, np.ones(len(values))], axis=1)


def share(hits, n):
    return means([1.0] * hits + [0.0] * (n - hits))


def ends(rows, ranges=None, level=0.95):
    found = jackknife(rows, finalize, level, ranges)
    return float(found.low[0]), float(found.high[0])


def wilson(hits, n, z=Z):
    p = hits / n
    half = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return (p + z**2 / (2 * n) - half) / (1 + z**2 / n), (p + z**2 / (2 * n) + half) / (1 + z**2 / n)


def test_nothing_of_forty_by_hand():
    low, high = ends(share(0, 40), UNIT)
    assert (low, high) == (0, pytest.approx(1.959964**2 / (40 + 1.959964**2)))
    assert high == pytest.approx(0.0876, abs=5e-5)
    assert ends(share(40, 40), UNIT) == (pytest.approx(0.9124, abs=5e-5), 1)
    assert ends(100 * share(0, 40) / [[1, 100]] * [[1, 100]], 100 * UNIT)[1] == pytest.approx(8.762, abs=5e-4)


@given(st.integers(3, 200), st.floats(0, 1), st.floats(0.5, 0.999))
def test_a_share_of_images_has_wilsons_interval(n, part, level):
    hits = round(part * n)
    z = NormalDist().inv_cdf((1 + level) / 2)
    expected = wilson(hits, n, z)
    assert ends(share(hits, n), UNIT, level) == pytest.approx(expected, abs=1e-9)
    # Any two values at the ends of a range are a share.
    rows = share(hits, n) @ [[3.0, 0.0], [-1.0, 1.0]]
    assert ends(rows, np.array([[-1.0, 2.0]]), level) == pytest.approx([3 * end - 1 for end in expected], abs=1e-8)


def test_a_plain_mean_has_students_interval():
    """Deviations -2 .. 2 have no skewness; their standard error is sqrt(2.5 / 5), and t of 4 degrees 2.776445."""
    values = np.arange(5.0)
    assert ends(means(values)) == pytest.approx((2 - 2.776445 * 0.5**0.5, 2 + 2.776445 * 0.5**0.5), abs=1e-6)
    assert jackknife(means(values), finalize).error[0] == pytest.approx(0.5**0.5)


def test_the_end_on_the_side_of_the_tail_is_halls():
    """Nine of ten values lie 1 below the mean: Hall's transformation of the upper end is t, the lower is Student's."""
    values = np.array([0.0] * 9 + [10.0])
    m2, m3, n = 9.0, (9 * -1 + 729) / 10, 10
    skew = m3 / m2**1.5 * math.sqrt(n * (n - 1)) / (n - 2)  # adjusted, as a sample shows too little of it
    error = math.sqrt(m2 / (n - 1))
    low, high = ends(means(values))
    t = 2.262157
    assert low == pytest.approx(1 - t * error, abs=1e-5)
    x, s = -(high - 1) / error, skew / math.sqrt(n)
    assert -(x + s / 3 * x**2 + s**2 / 27 * x**3 + s / 6) == pytest.approx(t, abs=1e-5)
    assert high - 1 > 2 * (1 - low)
    assert ends(means(-values)) == pytest.approx((-high, -low))


def test_heavy_tails_take_degrees_of_freedom():
    """-1 and 1, but for one -20 and one 20. d = (kurtosis - 1) / 2 is cut off at n / 10."""
    values = np.array([-1.0, 1.0] * 49 + [-20.0, 20.0])
    error = values.std(ddof=0) / 10
    kurtosis = (values**4).mean() / (values**2).mean() ** 2
    d = (kurtosis - 1) / 2 * 101 * 103 / (100 * 98)
    assert d > 10
    t = float(student_quantile(0.975, np.array([100 / 10 - 1.0]))[0])
    assert ends(means(values)) == pytest.approx((-t * error * (10 / 9) ** 0.5, t * error * (10 / 9) ** 0.5), rel=1e-9)


def test_few_images_do_not_prove_that_none_is_worse():
    """One right mention among three in each of 20 images. Mentions may be right by images: then up to Wilson's end for
    1 of 20 images. It was seen once that only one was, so the end is half way there."""
    rows = np.array([[1.0, 3.0]] + [[0.0, 3.0]] * 19)
    p = 1 / 60
    effective = p * (1 - p) / (0.05 * 0.95 / 9 / 20)
    expected = (wilson(p * effective, effective)[1] + wilson(1, 20)[1]) / 2
    low, high = ends(rows, UNIT)
    assert high == pytest.approx(expected, abs=1e-9)
    assert low == pytest.approx(wilson(p * effective, effective)[0], rel=0.1)
    mirrored = np.stack([rows[:, 1] - rows[:, 0], rows[:, 1]], axis=1)
    assert ends(mirrored, UNIT) == pytest.approx((1 - high, 1 - low))
    seen = [ends(np.array([[1.0, 3.0]] * k + [[0.0, 3.0]] * (20 - k)), UNIT)[1] for k in range(21)]
    assert seen[0] == pytest.approx(wilson(0, 20)[1])
    assert seen[4:] == sorted(seen[4:])


def test_equal_values_within_a_range():
    """All of 40 images score 0.3: of other images, up to 0.0876 may score anything."""
    most = wilson(0, 40)[1]
    assert ends(means([0.3] * 40), UNIT) == pytest.approx((0.3 - most * 0.3, 0.3 + most * 0.7))
    assert np.isnan(ends(means([0.3] * 40))).all()
    assert np.isnan(ends(means([0.3] * 40), np.array([[0.0, np.inf]]))).all()
    assert jackknife(means([0.3] * 40), finalize).error[0] == pytest.approx(0, abs=1e-12)
    limits = ranges_of_differences(UNIT)
    assert limits.tolist() == [[-1, 1]]
    assert ends(means([0.0] * 40), limits) == pytest.approx((-most, most))


def test_what_is_unknown():
    two = np.array([[1.0, 2.0], [0.0, 0.0], [0.0, 0.0]])
    assert np.isnan(ends(two, UNIT)).all(), "one image says something"
    assert np.isnan(ends(np.zeros((5, 2)), UNIT)).all()
    assert np.isnan(ends(means([1.0]), UNIT)).all()
    assert np.isnan(jackknife(np.zeros((0, 2)), finalize).error).all()
    both = jackknife(np.concatenate([means([0, 1, 1, 0]), np.zeros((4, 2))], axis=1)[:, [0, 2, 1, 3]], finalize)
    assert np.isfinite(both.low[0])
    assert np.isnan([both.low[1], both.high[1], both.error[1]]).all()

    def needs_the_first(summed):
        return ratio(summed[..., :1], summed[..., 1:2]) * ratio(summed[..., 2:], summed[..., 2:])

    rows = np.array([[1.0, 2, 5], [0, 2, 0], [2, 2, 0]])
    assert np.isfinite(needs_the_first(rows.sum(0)))
    assert np.isnan(jackknife(rows, needs_the_first, ranges=UNIT).low).all(), "undefined without the first image"
    with pytest.raises(ValueError, match="level"):
        jackknife(means([0, 1]), finalize, 95)


def ratios(rng, n, outputs=1):
    terms = rng.integers(1, 6, (n, outputs))
    return np.concatenate([rng.binomial(terms, rng.random(outputs)), terms], axis=1).astype(float)


@given(st.integers(0, 10_000), st.integers(2, 60), st.booleans())
def test_an_interval_holds_its_score_and_stays_in_its_range(seed, n, bounded):
    rows = ratios(np.random.default_rng(seed), n, 4)
    ranges = np.tile(UNIT, (4, 1)) if bounded else None
    _, low, high, error = jackknife(rows, finalize, ranges=ranges)
    point = finalize(rows.sum(0))
    known = np.isfinite(low)
    assert (low[known] <= point[known]).all()
    assert (point[known] <= high[known]).all()
    assert (error >= 0).all()
    if bounded:
        assert known.all()
        assert (low >= 0).all()
        assert (high <= 1).all()
        assert (high > low).all(), "an interval that is a point claims to know all images"


@given(st.integers(0, 10_000), st.integers(4, 40), st.floats(0.1, 50), st.floats(-20, 20))
def test_other_units_move_and_stretch_an_interval(seed, n, scale, shift):
    rng = np.random.default_rng(seed)
    rows = means(rng.gamma(0.5, 1, n))
    low, high = ends(rows)
    other = rows @ [[scale, 0], [shift, 1]]
    assert ends(other) == pytest.approx((scale * low + shift, scale * high + shift), rel=1e-6, abs=1e-6)
    assert ends(rows @ [[-1, 0], [0, 1]]) == pytest.approx((-high, -low))
    limits = np.array([[0.0, 10.0]])
    inside = ends(rows, limits)
    assert ends(other, scale * limits + shift) == pytest.approx(scale * np.array(inside) + shift, rel=1e-6, abs=1e-6)
    assert ends(rows[rng.permutation(n)], limits) == pytest.approx(inside)
    assert ends(7 * rows, limits) == pytest.approx(inside), "counting every word seven times tells nothing new"


def test_images_that_say_nothing_of_a_score_change_nothing():
    rows = ratios(np.random.default_rng(3), 12)
    silent = np.concatenate([rows, np.zeros((500, 2))])
    assert ends(silent, UNIT) == pytest.approx(ends(rows, UNIT), rel=1e-9)
    assert ends(silent) == pytest.approx(ends(rows), rel=1e-9)


def test_clusters_of_one_image_are_images_and_larger_ones_count_once():
    rng = np.random.default_rng(4)
    rows = ratios(rng, 40)
    assert ends(sum_by_cluster(rows, np.arange(40)), UNIT) == ends(rows, UNIT)
    # 8 rooms of 5 images that are all alike are 8 images.
    alike = np.repeat(rows[:8], 5, axis=0)
    by_room = ends(sum_by_cluster(alike, np.repeat(np.arange(8), 5)), UNIT)
    assert by_room == pytest.approx(ends(rows[:8], UNIT))
    by_image = ends(alike, UNIT)
    assert by_image[1] - by_image[0] < 0.6 * (by_room[1] - by_room[0])


def test_clusters_named_by_meta():
    samples = [Sample(f"s{i}", NO_IMAGE, ("a dog",), meta={"own": i, "room": i // 5}) for i in range(40)]
    said = {s.id: "a dog " + "runs " * (i % 7) for i, s in enumerate(samples)}
    alone, own, room = (evaluate(samples, said, ["length"], cluster=key) for key in (None, "own", "room"))
    assert own.estimate("length") == alone.estimate("length")
    assert room.estimate("length") != alone.estimate("length")
    assert own.scores["length"].signature.endswith("|ci:jackknife|unit:meta.own")


def test_parts_of_a_harmonic_mean_move_it_together():
    """Any smooth function of sums: the error is that of the formula for a product of two independent means."""
    rng = np.random.default_rng(5)
    rows = np.concatenate([rng.normal(5, 1, (400, 2)), np.ones((400, 1))], axis=1)
    found = jackknife(rows, lambda s: (s[..., :1] / s[..., 2:]) * (s[..., 1:2] / s[..., 2:]))
    assert found.error[0] == pytest.approx(math.sqrt(2 * 25 / 400), rel=0.1)


def test_quantiles_of_student():
    df = np.array([1, 2, 5, 30, 1e5, 1e8, np.inf])
    known = [12.706205, 4.302653, 2.570582, 2.042272, 1.959988, 1.959964, 1.959964]
    assert student_quantile(0.975, df) == pytest.approx(known, abs=1e-6)
    assert student_quantile(0.995, df[:3]) == pytest.approx([63.656741, 9.924843, 4.032143], abs=1e-5)
    assert np.isnan(student_quantile(0.975, np.array([np.nan]))).all()


def covered(rows, truth, ranges=None):
    """Shares of experiments (outputs) in which intervals hold the truth: jackknife, percentile."""
    limits = None if ranges is None else np.tile(ranges, (rows.shape[1] // 2, 1))
    _, low, high, _ = jackknife(rows, finalize, ranges=limits)
    drawn = intervals(finalize(bootstrap_sums(rows, 400, 1)))
    return np.mean((low <= truth) & (truth <= high)), np.mean((drawn[0] <= truth) & (truth <= drawn[1]))


def test_intervals_of_few_images_hold_the_truth_where_percentiles_do_not():
    """1,000 experiments each, with a fixed seed: 95 % would come out between 93.4 and 96.6 % in 98 of 100 cases. Shares
    jump from one count to the next, so some intervals of few images hold the truth a little too often."""
    rng = np.random.default_rng(6)
    ones = np.ones((20, 1000))
    ours, theirs = covered(np.concatenate([rng.normal(0, 1, (20, 1000)), ones], axis=1), 0)
    assert 0.934 <= ours <= 0.97
    assert theirs < 0.934
    ours, theirs = covered(np.concatenate([rng.lognormal(0, 1, (20, 1000)), ones], axis=1), math.exp(0.5))
    assert 0.92 <= ours <= 0.97
    assert theirs < 0.89
    ours, theirs = covered(np.concatenate([rng.random((20, 1000)) < 0.1, ones], axis=1), 0.1, UNIT)
    assert 0.934 <= ours <= 0.975
    assert theirs < 0.9
    chance = rng.beta(0.1, 0.9, (60, 1000))  # five captions of an image are right together
    ours, theirs = covered(np.concatenate([rng.binomial(5, chance), np.full((60, 1000), 5)], axis=1), 0.1, UNIT)
    assert 0.934 <= ours <= 0.975
    assert theirs < 0.934


def test_the_ways_to_make_intervals():
    rows = ratios(np.random.default_rng(8), 40)
    plain = estimate(rows, finalize, UNIT)
    assert plain.value == finalize(rows.sum(0))
    assert (plain.low, plain.high) == jackknife(rows, finalize, ranges=UNIT)[1:3]
    drawn = estimate(rows, finalize, UNIT, How("percentile", 200, 3))
    assert (drawn.low[0], drawn.high[0]) == tuple(np.ravel(intervals(finalize(bootstrap_sums(rows, 200, 3)))))
    assert drawn.error == plain.error
    moved = estimate(rows, finalize, UNIT, How("bca", 200, 3))
    assert moved.low != drawn.low
    for how in (How(replicates=0), How("percentile", 0)):
        assert np.isnan(estimate(rows, finalize, UNIT, how)[1:]).all()
    assert How(level=0.9).sign("image") == "ci:jackknife@90|unit:image"
    assert How("bca", 2000, 7).sign("meta.film") == "ci:bca2000|unit:meta.film|seed:7"
    assert How(replicates=0).sign("image") == "ci:none|unit:image"
