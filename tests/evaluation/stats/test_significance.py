from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capwright.evaluation import (
    Comparison,
    adjust,
    compare,
    evaluate,
    holm,
    paired_differences,
    prepare_scorers,
)
from capwright.evaluation.stats import significance
from capwright.evaluation.stats.significance import (
    detectable_difference,
    difference_of,
    higher_same_lower,
    images_needed,
    randomization_test,
)
from capwright.scorers.base import ratio
from capwright.types import NO_IMAGE, DataError, Sample


def finalize(summed):
    """One output: a ratio of sums."""
    return ratio(summed[..., :1], summed[..., 1:2])


def draw(rng, n, rate=0.4):
    terms = rng.integers(1, 5, size=n)
    return np.stack([rng.binomial(terms, rate), terms], axis=1).astype(float)


def alike(rng, n):
    """Two systems with the same chances on every image; images differ in difficulty."""
    words, hard = rng.integers(5, 20, n), rng.beta(2, 3, n)
    return [np.stack([rng.binomial(words, hard), words], axis=1).astype(float) for _ in range(2)]


def test_a_paired_test_of_equals_seldom_finds_a_difference():
    rng = np.random.default_rng(0)
    found = 0
    for trial in range(200):
        a = draw(rng, 80)
        b = np.stack([rng.binomial(a[:, 1].astype(int), 0.4), a[:, 1]], axis=1).astype(float)
        (d,) = paired_differences(a, b, finalize, seed=trial, trials=1000)
        assert (d.p < 0.05) == (not d.low <= 0 <= d.high) or 0.02 < d.p < 0.08
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
    assert (same.difference, same.low, same.high, same.p) == (0, None, None, 1), "it could be anything elsewhere"
    (same,) = paired_differences(a, a, finalize, ranges=np.array([[0.0, 1.0]]))
    reach = 3.841459 / (20 + 3.841459)  # Wilson's upper end: in so many other images, by so much, they may differ
    assert (same.difference, same.low, same.high, same.p) == pytest.approx((0, -reach, reach, 1), abs=1e-6)
    (nothing,) = paired_differences(np.zeros((5, 2)), a[:5], finalize)
    assert (nothing.difference, nothing.low, nothing.high, nothing.p) == (None, None, None, None)
    (one,) = paired_differences(a[:1], a[:1], finalize)
    assert (one.difference, one.low, one.p) == (0, None, None)
    with pytest.raises(ValueError, match="same shape"):
        paired_differences(a, a[:3], finalize)


@given(st.integers(0, 10_000))
def test_the_order_of_images_moves_no_point_estimate(seed):
    rng = np.random.default_rng(seed)
    a, b = draw(rng, 30), draw(rng, 30)
    order = rng.permutation(30)
    (before,) = paired_differences(a, b, finalize, replicates=50)
    (after,) = paired_differences(a[order], b[order], finalize, replicates=50)
    assert before.difference == pytest.approx(after.difference)


def test_neither_test_finds_differences_of_equals_more_often_than_it_says():
    """300 experiments at 5 %: 15 expected, and fewer than 4 or more than 29 in about one case of 5,000."""
    rng = np.random.default_rng(2)
    found = dict.fromkeys(significance.TESTS, 0)
    for trial in range(300):
        a, b = alike(rng, 60)
        for test in found:
            (d,) = paired_differences(a, b, finalize, replicates=400, seed=trial, test=test, trials=400)
            found[test] += d.p <= 0.05
    assert 4 <= found["randomization"] <= 29
    assert 4 <= found["bootstrap"] <= 29


def test_a_randomization_test_by_enumeration():
    a = np.array([[1.0, 1], [2, 1], [3, 1]])
    b = np.array([[2.0, 1], [4, 1], [7, 1]])
    # Differences 1, 2, 4. Of the 8 ways to swap, only +++ and --- reach |7|: p = 1/4, and 3 in 4 trials fall short.
    (p,) = randomization_test(a, b, finalize, 20_000, seed=1)
    assert p == pytest.approx(0.25, abs=0.01)
    (back,) = randomization_test(b, a, finalize, 20_000, seed=1)
    assert back == p


def test_of_swaps_that_differ_as_much_half_count():
    """Eight images gain 1 and two lose 1. Of 1,024 ways to swap, 22 differ by more than 6 and 90 by 6: the data, their
    mirror image, and 88 others, of which half count."""
    a = np.stack([np.zeros(10), np.ones(10)], axis=1)
    b = a + np.array([[1.0, 0]] * 8 + [[-1.0, 0]] * 2)
    (p,) = randomization_test(a, b, finalize, 40_000, seed=1)
    assert p == pytest.approx((22 + 2 + 88 / 2) / 1024, abs=0.005)


def test_a_randomization_test_sees_a_steady_gain_and_no_more_than_its_trials_allow():
    a = draw(np.random.default_rng(0), 200)
    b = a.copy()
    b[:, 0] += 0.5
    assert randomization_test(a, b, finalize, 999).tolist() == [1 / 1000]
    assert randomization_test(a, a, finalize, 99).tolist() == [1]


def test_randomization_that_is_undefined():
    a = np.zeros((4, 2))
    a[0] = [1, 2]
    assert np.isnan(randomization_test(a, np.zeros((4, 2)), finalize)).all()
    assert np.isnan(randomization_test(a[:1], a[:1], finalize)).all()
    b = a[[1, 0, 2, 3]]
    assert np.isnan(randomization_test(a, b, finalize)).all(), "half of the swaps leave a system without a term"
    with pytest.raises(ValueError, match="same shape"):
        randomization_test(a, a[:2], finalize)
    with pytest.raises(ValueError, match="randomization, bootstrap"):
        paired_differences(a, a, finalize, test="t")


def test_trials_do_not_depend_on_how_they_are_cut(monkeypatch):
    a, b = alike(np.random.default_rng(3), 70)
    whole = randomization_test(a, b, finalize, 500, seed=3)
    monkeypatch.setattr(significance, "_CELLS", 200)
    assert randomization_test(a, b, finalize, 500, seed=3) == pytest.approx(whole, abs=0)
    assert randomization_test(a, b, finalize, 500, seed=4) != pytest.approx(whole, abs=0)


def test_swaps_are_fair_coins():
    swaps = np.concatenate(list(significance._draw_swaps(100, 2000, seed=0)))
    assert set(np.unique(swaps)) == {0, 1}
    assert swaps.mean(0) == pytest.approx(0.5, abs=0.05)
    assert abs(np.corrcoef(swaps.T) - np.eye(100)).max() < 0.12


def test_holm_of_a_worked_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, None, 0.9]) == [1.0, None, 1.0]
    assert holm([]) == []
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([1.2])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.randoms())
def test_holm_lies_between_the_p_values_and_bonferroni(p_values, random):
    corrected = holm(p_values)
    for p, c in zip(p_values, corrected):
        assert p <= c <= min(1, p * len(p_values)) + 1e-12
    assert sorted(range(len(p_values)), key=lambda i: (p_values[i], i)) == sorted(
        range(len(p_values)), key=lambda i: (corrected[i], p_values[i], i)
    )
    order = list(range(len(p_values)))
    random.shuffle(order)
    assert holm([p_values[i] for i in order]) == [corrected[i] for i in order]


def test_the_detectable_difference_is_detected_as_often_as_it_says():
    rng = np.random.default_rng(4)
    errors, hits = [], 0
    for trial in range(150):
        a, b = alike(rng, 200)
        (d,) = paired_differences(a, b, finalize, replicates=300, seed=trial)
        errors.append(d.error)
    gain = detectable_difference(float(np.mean(errors)))
    for trial in range(300):
        a, b = alike(rng, 200)
        b[:, 0] += gain * b[:, 1]
        (d,) = paired_differences(a, b, finalize, replicates=300, seed=trial)
        hits += d.p <= 0.05
    assert hits / 300 == pytest.approx(0.8, abs=0.08)


def test_planning():
    assert detectable_difference(1) == pytest.approx(1.959964 + 0.841621, abs=1e-5)
    assert detectable_difference(1, 0.01, 0.9) == pytest.approx(2.575829 + 1.281552, abs=1e-5)
    assert detectable_difference(1, measured_on=100, images=400) == pytest.approx(detectable_difference(1) / 2)
    assert images_needed(detectable_difference(1) / 2, 1, 100) == pytest.approx(400, abs=1)
    assert images_needed(100, 1, 100) == 2
    with pytest.raises(ValueError, match="alpha and power"):
        detectable_difference(1, alpha=5)
    with pytest.raises(ValueError, match="smallest one that matters"):
        images_needed(0, 1, 100)


def test_standard_error_of_a_paired_mean():
    rng = np.random.default_rng(0)
    a = np.stack([rng.normal(0, 1, 400), np.ones(400)], axis=1)
    b = np.stack([a[:, 0] + rng.normal(0, 0.1, 400), np.ones(400)], axis=1)
    (d,) = paired_differences(a, b, finalize, replicates=2000)
    assert d.error == pytest.approx((b - a)[:, 0].std() / 20, rel=0.08)


def test_the_standard_error_is_the_unbiased_deviation_of_the_replicates():
    drawn = np.array([0.1, 0.4, 0.2, 0.9, 0.4])
    assert difference_of(0.3, drawn).error == pytest.approx(np.sqrt(((drawn - 0.4) ** 2).sum() / 4))


def test_higher_same_lower():
    a = np.array([1, 2, 3, np.nan, 5, 0.1 + 0.2])
    b = np.array([2, 2, 1, 4, np.nan, 0.3])
    assert higher_same_lower(a, b) == (1, 2, 1)


SAMPLES = [Sample(f"s{i}", NO_IMAGE, (f"a dog {'runs ' * (i % 7)}",), meta={"room": i // 4}) for i in range(40)]
SHORT = {sample.id: "a dog " + "runs " * (i % 7) for i, sample in enumerate(SAMPLES)}
LONG = {id: text + ("very fast " if id != "s3" else "") for id, text in SHORT.items()}


def both(**how):
    ready = prepare_scorers(SAMPLES, ["length"])
    return [evaluate(SAMPLES, rows, ready, name=name, **how) for name, rows in (("short", SHORT), ("long", LONG))]


def test_comparison_says_all_there_is_to_know():
    (row,) = compare(*both(), ["length.words"], test="randomization", trials=999)
    assert row.difference == pytest.approx(2 * 39 / 40)
    assert row.p == 1 / 1000
    assert (row.wins, row.ties, row.losses) == (39, 1, 0)
    assert row.p_holm is None
    # Of 40 differences one is 0 and 39 are 2: their standard deviation is 2 sqrt(39) / 40.
    assert row.detectable == pytest.approx(2.8016 * 2 * 39**0.5 / 40 / 40**0.5, rel=0.1)
    assert row.signature == "length|v:1|paired:jackknife|test:randomization999|unit:image|seed:0"
    (other,) = compare(*both(level=0.9, seed=5, method="percentile"), ["length.words"], test="bootstrap")
    assert other.signature == "length|v:1|paired:boot1000@90|test:bootstrap1000|unit:image|seed:5"
    assert other.detectable < row.detectable
    (usual,) = compare(*both(), ["length.words"])
    assert usual.signature == "length|v:1|paired:jackknife|test:randomization10000|unit:image|seed:0"
    assert set(row.to_json()) == {*Comparison.__slots__}


def test_comparison_by_clusters_draws_clusters():
    alone = compare(*both(), ["length.words"])[0]
    together = compare(*both(cluster="room"), ["length.words"])[0]
    assert together.difference == pytest.approx(alone.difference)
    assert "unit:meta.room" in together.signature
    assert together.images == 40
    assert together.wins == 39
    with pytest.raises(DataError, match="different clusters"):
        compare(both()[0], both(cluster="room")[1])


def test_two_that_say_the_same_do_not_differ():
    a = both()[0]
    row = compare(a, a, test="randomization")[0]
    assert (row.difference, row.low, row.high, row.p, row.detectable) == (0, None, None, 1, None)
    assert (row.wins, row.ties, row.losses) == (0, 40, 0)


def test_adjusting_corrects_over_everything_given():
    rows = compare(*both(), test="randomization", trials=999)
    assert [row.score for row in rows] == [
        f"length.{name}" for name in ("words", "characters", "sentences", "truncated")
    ]
    corrected = adjust(rows)
    assert [row.p_holm for row in corrected] == holm([row.p for row in rows])
    assert corrected[0].p_holm == pytest.approx(4 / 1000)
    assert [row.p for row in corrected] == [row.p for row in rows]
