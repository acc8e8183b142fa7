from __future__ import annotations

import gzip
import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capwright.evaluation.human_agreement import (
    AGGREGATIONS,
    COEFFICIENTS,
    agreement,
    compare_agreement,
    pairwise_agreement,
)
from capwright.evaluation.stats.correlation import kendall, pair_counts, pearson, spearman
from capwright.types import DataError
from places import CAPTIONS

IIW = CAPTIONS / "iiw400.jsonl.gz"

#: Income against job satisfaction of 96 people (Agresti, Categorical Data Analysis, 2nd edition, table 2.8): the book
#: counts 1,331 concordant and 849 discordant pairs.
SATISFACTION = np.array([[1, 3, 10, 6], [2, 3, 10, 7], [1, 6, 14, 12], [0, 1, 9, 11]])
INCOME = np.repeat(np.arange(4.0), SATISFACTION.sum(1))
CONTENT = np.concatenate([np.repeat(np.arange(4.0), row) for row in SATISFACTION])

#: Ten people's IQ and hours of television a week: a textbook example of Spearman's rho without ties, -29 / 165.
IQ = [106, 100, 86, 101, 99, 103, 97, 113, 112, 110]
HOURS = [7, 27, 2, 50, 28, 29, 20, 12, 6, 17]


def ones(n):
    return np.ones((1, n))


def count_slowly(x, y, weights):
    """Pairs one by one: concordant, discordant, tied in x alone, in y alone, in both."""
    counts = [0.0] * 5
    for i, j in itertools.combinations(range(len(x)), 2):
        sign = np.sign(x[i] - x[j]) * np.sign(y[i] - y[j])
        tied = (x[i] == x[j], y[i] == y[j])
        kind = {1: 0, -1: 1}.get(sign, 4 if all(tied) else 2 if tied[0] else 3)
        counts[kind] += weights[i] * weights[j]
    return counts


def test_pair_counts_of_a_published_table():
    concordant, discordant, *_ = (value[0] for value in pair_counts(INCOME, CONTENT)(ones(96)))
    assert (concordant, discordant) == (1331, 849)
    pairs = 96 * 95 / 2
    tied_income = sum(n * (n - 1) / 2 for n in SATISFACTION.sum(1))
    tied_content = sum(n * (n - 1) / 2 for n in SATISFACTION.sum(0))
    tau_b = (1331 - 849) / math.sqrt((pairs - tied_income) * (pairs - tied_content))
    assert tau_b == pytest.approx(0.152, abs=5e-4)
    assert agreement(INCOME, CONTENT).value == pytest.approx(tau_b, abs=1e-12)
    tau_c = 2 * (1331 - 849) / 96**2 * 4 / 3
    assert agreement(INCOME, CONTENT, coefficient="tau-c").value == pytest.approx(tau_c, abs=1e-12)


def test_tau_by_hand():
    """Of ten pairs 2 agree and 6 do not; two are tied in x, one in y."""
    x, y = [12, 2, 1, 12, 2], [1, 4, 7, 1, 0]
    assert agreement(x, y).value == pytest.approx((2 - 6) / math.sqrt(8 * 9))
    assert agreement(x, y, coefficient="tau-c").value == pytest.approx(2 * (2 - 6) / 25 * 3 / 2)
    assert agreement(x, y, coefficient="pairwise").value == pytest.approx((2 + 1 / 2) / (2 + 6 + 1))
    assert agreement(x, y, coefficient="pairwise", ties="equal").value == pytest.approx((2 + 1) / 10)
    with pytest.raises(ValueError, match="variant"):
        kendall(np.zeros(2), np.zeros(2), "a")


def test_spearman_and_pearson_by_hand():
    assert agreement(IQ, HOURS, coefficient="spearman").value == pytest.approx(-29 / 165)
    # Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: covariance 4.5, variances 4.5 and 5.
    assert agreement([1, 2, 2, 3], [1, 2, 3, 4], coefficient="spearman").value == pytest.approx(4.5 / math.sqrt(22.5))
    assert agreement([1, 2, 4], [1, 3, 4], coefficient="pearson").value == pytest.approx(13 / math.sqrt(14 * 14))
    assert agreement(IQ, HOURS, coefficient="pearson").value == pytest.approx(np.corrcoef(IQ, HOURS)[0, 1])


@given(st.integers(0, 10_000), st.integers(2, 25), st.integers(1, 9), st.integers(1, 9))
def test_pairs_are_counted_exactly_whatever_is_drawn(seed, n, values_x, values_y):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, values_x, n).astype(float), rng.normal(size=values_y)[rng.integers(0, values_y, n)]
    weights = rng.integers(0, 4, (3, n)).astype(float)
    counts = np.array(pair_counts(x, y)(weights)).T
    for row, drawn in zip(counts, weights):
        assert row.tolist() == count_slowly(x, y, drawn)


@given(st.integers(0, 10_000))
def test_weights_are_items_drawn_again(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 5, 20).astype(float), rng.integers(0, 5, 20).astype(float)
    weights = rng.integers(0, 3, (1, 20)).astype(float)
    again = np.repeat(np.arange(20), weights[0].astype(int))
    for make in (spearman, pearson, kendall):
        drawn = make(x, y)(weights)[0]
        assert drawn == pytest.approx(make(x[again], y[again])(ones(len(again)))[0], nan_ok=True)


@given(st.integers(0, 10_000))
def test_rank_coefficients_do_not_change_with_the_scale_and_turn_with_the_sign(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(-4, 5, 15).astype(float), rng.integers(1, 5, 15).astype(float)
    for coefficient in ("tau-b", "tau-c", "spearman", "pairwise"):
        value = agreement(x, y, coefficient=coefficient, replicates=0).value
        assert agreement(np.exp(x), y, coefficient=coefficient, replicates=0).value == pytest.approx(value)
        turned = agreement(-x, y, coefficient=coefficient, replicates=0).value
        if value is None:
            assert turned is None
        else:
            assert turned == pytest.approx(1 - value if coefficient == "pairwise" else -value)


def test_where_nothing_varies_agreement_is_unknown():
    for coefficient in ("tau-b", "tau-c", "spearman", "pearson"):
        assert agreement([0.1] * 9, range(9), coefficient=coefficient).value is None
        assert agreement(range(9), [3] * 9, coefficient=coefficient).value is None
    assert agreement([0.1] * 9, range(9), coefficient="pairwise").value == 0.5
    assert agreement(range(9), [3] * 9, coefficient="pairwise").value is None
    assert agreement(range(4), range(4), coefficient="within").value is None
    one = agreement([1, 2], [3, 4], clusters=["a", "a"], coefficient="within")
    assert (one.value, one.low, one.high, one.clusters) == (1, None, None, 1)


def test_the_protocol_changes_the_number_and_the_signature():
    scores = [0.1, 0.4, 0.3, 0.9]
    ratings = [[1, 1, 4], [2, 3], [2], [4, None, 3]]
    found = {how: agreement(scores, ratings, list("aabb"), how) for how in AGGREGATIONS}
    assert found["mean"].value == agreement(scores, [2, 2.5, 2, 3.5]).value
    assert found["median"].value == agreement(scores, [1, 2.5, 2, 3.5]).value
    each = agreement([0.1, 0.1, 0.1, 0.4, 0.4, 0.3, 0.9, 0.9], [1, 1, 4, 2, 3, 2, 4, 3])
    assert found["each"].value == each.value
    assert len({one.value for one in found.values()}) == 3
    assert (found["mean"].judgements, found["each"].judgements, found["each"].clusters) == (4, 8, 2)
    assert found["each"].signature == "tau-b|ratings:each|n:8|clusters:2|ci:boot1000|unit:cluster|seed:0|v:1"
    pairs = agreement(scores, ratings, coefficient="pairwise", ties="equal", level=0.9, seed=4, replicates=10)
    assert pairs.signature == ("pairwise|ratings:mean|ties:equal|n:4|clusters:4|ci:boot10@90|unit:caption|seed:4|v:1")
    assert set(pairs.to_json()) >= {"value", "low", "high", "signature", "unknown"}


def test_what_is_unknown_is_left_out_and_counted():
    found = agreement([1, None, 3, 4, float("nan")], [1, 2, [], [None, 4], 5])
    assert (found.value, found.judgements, found.unknown) == (1, 2, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(scores=[1, 2], ratings=[1, 2, 3]), "2, 3"),
        (dict(scores=[1, 2], ratings=[1, 2], clusters=["a"]), "1, 2"),
        (dict(scores=[1, 2], ratings=[None, None]), "no caption has a score and a rating"),
        (dict(scores=[1, math.inf], ratings=[1, 2]), "score 2 is infinite"),
        (dict(scores=[1, 2], ratings=[1, math.inf]), "caption 2 is infinite"),
        (dict(scores=[1, 2], ratings=[1, "good"]), "caption 2 are 'good'"),
        (dict(scores=[[1], [2]], ratings=[1, 2]), "shape"),
        (dict(scores=[1, 2], ratings=[1, 2], aggregation="max"), "mean, median, each"),
        (dict(scores=[1, 2], ratings=[1, 2], coefficient="tau"), "tau-b, tau-c"),
        (dict(scores=[1, 2], ratings=[1, 2], ties="no"), "half, equal"),
    ],
)
def test_what_can_not_be_compared(arguments, message):
    with pytest.raises(DataError, match=message):
        agreement(**arguments)


def rated(rng, images, each=4, image=0.5):
    """Scores and ratings with a true correlation of 0.5; `image` of their variance is shared by an image's captions."""
    code = np.repeat(np.arange(images), each)
    shared, own = (rng.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], n) for n in (images, images * each))
    values = math.sqrt(image) * shared[code] + math.sqrt(1 - image) * own
    return values[:, 0], values[:, 1], code


def test_intervals_by_image_hold_the_truth_as_often_as_they_say():
    """tau of a normal pair with correlation 0.5 is 2 / pi * asin(0.5) = 1/3."""
    rng = np.random.default_rng(0)
    covered = {"image": 0, "caption": 0}
    for trial in range(150):
        x, y, code = rated(rng, 30, image=0.9)
        for unit in covered:
            found = agreement(x, y, code if unit == "image" else None, replicates=200, seed=trial)
            covered[unit] += found.low <= 1 / 3 <= found.high
    assert covered["image"] / 150 > 0.87
    assert covered["caption"] / 150 < 0.8, "captions of one image are not independent"


def test_within_images_only_pairs_of_one_image_count():
    """Between images the score is all wrong, within them all right."""
    scores = [1, 2, 3, 4, 5, 6]
    ratings = [5, 6, 3, 4, 1, 2]
    clusters = list("aabbcc")
    within = agreement(scores, ratings, clusters, coefficient="within")
    # Right in 3 of 3 images: Wilson's lower end, 1 - z² / (n + z²).
    assert (within.value, within.low, within.high) == pytest.approx((1, 1 - 3.841459 / 6.841459, 1), abs=1e-6)
    assert within.signature.endswith("|ci:jackknife|unit:cluster|v:1")
    assert agreement(scores, ratings, clusters, coefficient="pairwise").value == 3 / 15
    tied = agreement([1, 1, 3, 4], [1, 2, 2, 2], list("aabb"), coefficient="within")
    assert tied.value == 0.5
    assert agreement([1, 1, 3, 4], [1, 2, 2, 2], list("aabb"), coefficient="within", ties="equal").value == 0


def test_every_coefficient_has_an_interval_that_a_seed_repeats(monkeypatch):
    x, y, code = rated(np.random.default_rng(1), 25)
    for coefficient in COEFFICIENTS:
        found = agreement(x, y, code, coefficient=coefficient, replicates=100)
        assert found.low < found.value < found.high
        with monkeypatch.context() as patch:
            patch.setattr("capwright.evaluation.human_agreement._CELLS", 300)
            again = agreement(x, y, code, coefficient=coefficient, replicates=100)
        assert (again.low, again.high) == pytest.approx((found.low, found.high), abs=1e-12)
        other = agreement(x, y, code, coefficient=coefficient, replicates=100, seed=1)
        drawn = coefficient != "within"
        assert ((other.low, other.high) != (found.low, found.high)) == drawn


def test_the_better_of_two_metrics_is_found_in_pairs():
    x, y, code = rated(np.random.default_rng(2), 100)
    noisy = x + np.random.default_rng(3).normal(0, 1, len(x))
    d = compare_agreement(noisy, x, y, code)
    assert d.difference == pytest.approx(agreement(x, y).value - agreement(noisy, y).value)
    assert 0 < d.low < d.difference < d.high
    assert d.p < 0.05
    same = compare_agreement(x, x, y, code, coefficient="spearman")
    assert (same.difference, same.low, same.high, same.p) == (0, 0, 0, 1)


def test_preferences_by_hand():
    a, b, said = [3, 1, 2, 5, 4, None], [1, 2, 2, 5, 3, 1], [2, 1, -1, 0, 0, 1]
    # Right, wrong, tied score (half); two ties of people; one unknown score.
    half = pairwise_agreement(a, b, said)
    assert (half.value, half.judgements, half.unknown) == (1.5 / 3, 5, 1)
    assert half.signature == "preference|ties:half|n:5|clusters:5|ci:jackknife|unit:caption|v:1"
    assert pairwise_agreement(a, b, said, ties="equal").value == 2 / 5
    near = pairwise_agreement(a, b, said, ties="equal", tolerance=1)
    assert near.value == 3 / 5
    assert "tolerance:1" in near.signature
    assert pairwise_agreement([1, 2], [2, 1], [0, 0]).value is None
    with pytest.raises(DataError, match="half, equal"):
        pairwise_agreement(a, b, said, ties="credit")


VERDICTS = {
    "IIW-Human is substantially better": 2,
    "IIW-Human is marginally better": 1,
    "Neutral": 0,
    "IIW-P5B is marginally better": -1,
    "IIW-P5B is substantially better": -2,
}


def side_by_side():
    with gzip.open(IIW, "rt", encoding="utf-8") as lines:
        rows = [row for row in map(json.loads, lines) if "iiw-human-sxs-iiw-p5b" in row]
    said = [{axis: VERDICTS[v] for axis, v in row["iiw-human-sxs-iiw-p5b"].items()} for row in rows]
    lengths = [[len(row[system].split()) for row in rows] for system in ("IIW", "IIW-P5B")]
    return lengths, said, [row["image/key"] for row in rows]


def test_length_against_what_people_prefer_of_long_captions():
    (human, model), said, images = side_by_side()
    whole = [one["metrics/Comprehensiveness"] for one in said]
    found = pairwise_agreement(human, model, whole, images)
    longer = np.sign(np.subtract(human, model))
    judged = np.array(whole)
    assert (found.judgements, found.clusters) == (100, 100)
    assert found.value == (longer == np.sign(judged))[judged != 0].mean() == pytest.approx(82 / 88)
    assert 0.85 < found.low < found.value < found.high < 1
    # The longer caption is the person's in 93 of 100 pairs: knowing who wrote it is as good as counting words.
    assert (longer > 0).sum() == 93
    always = pairwise_agreement([1] * 100, [0] * 100, whole, images)
    assert always.value == pytest.approx(83 / 88)
    # Beyond that, length follows how much more a caption says, and not how little it invents.
    gain = np.subtract(human, model)
    more = agreement(gain, whole, images)
    invented = agreement(gain, [one["metrics/Hallucination"] for one in said], images)
    assert more.low > 0.15
    assert invented.low < 0 < invented.high


def test_many_captions_are_counted_as_few_are():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=3000), rng.integers(1, 5, 3000).astype(float)
    concordant, discordant, *_ = (value[0] for value in pair_counts(x, y)(ones(3000)))
    by_x = y[np.argsort(x)]
    assert concordant == sum(np.count_nonzero(by_x[:i] < by_x[i]) for i in range(3000))
    assert discordant == sum(np.count_nonzero(by_x[:i] > by_x[i]) for i in range(3000))
