from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from capwright.judges.protocols import Grade
from capwright.scenes import sample_scene, to_sample
from capwright.scorers import Corpus, Item, get_scorer
from capwright.scorers.claims.balcap import BalCap
from capwright.scorers.fluency.language import Language
from capwright.types import NO_IMAGE, ModelError, Sample, ScorerError
from fake_claims import PICTURE, FakeClaims, measure, scores


def test_balcap_counts_claims_that_are_true_and_pointable():
    asked = FakeClaims(["red ball", "cozy mood"], vague=["cozy mood"])
    found, _ = scores(BalCap(asked), "red ball. cozy mood. green cat")
    assert found["precision"] == pytest.approx(1 / 3)
    assert found["recall"] == 0.5  # "red ball", not "blue box"
    assert found["harmonic"] == pytest.approx(2 * (1 / 3) * 0.5 / (1 / 3 + 0.5))
    assert scores(BalCap(asked, pointable=False), "red ball. cozy mood. green cat")[0]["precision"] == pytest.approx(
        2 / 3
    )


def test_balcap_without_claims_has_precision_zero():
    for caption in ("", "..."):
        assert scores(BalCap(FakeClaims()), caption)[0] == {"harmonic": 0.0, "precision": 0.0, "recall": 0.0}


def test_balcap_repeating_a_true_claim_does_not_pay():
    asked = FakeClaims(["red ball"])
    once, again = (scores(BalCap(asked), c)[0] for c in ("red ball. cat", "red ball. Red  ball. red ball. cat"))
    assert once == again


def test_balcap_pointability_nobody_judged_is_unknown():
    class Silent(FakeClaims):
        def _verdict(self, claim, evidence):
            return replace(super()._verdict(claim, evidence), pointable=None)

    assert scores(BalCap(Silent(["red ball"])), "red ball")[1] == "unparseable"
    assert scores(BalCap(Silent()), "red ball")[0]["precision"] == 0  # not true, so it does not matter


def test_balcap_parts_ask_for_no_more():
    asked = FakeClaims(["red ball"])
    found, _ = scores(BalCap(asked, parts="precision"), "red ball. cat")
    assert found == {"precision": 0.5}
    assert asked.calls[0][1] == ["red ball. cat"]
    asked = FakeClaims()
    assert scores(BalCap(asked, parts="recall"), "red ball. cat")[0] == {"recall": 0.5}
    assert asked.calls[0][1] == [PICTURE.references[0]]
    lone = Sample("1", NO_IMAGE, meta={"facts": ["red ball", "x"]})
    assert scores(BalCap(asked, parts="recall"), "red ball", lone)[0] == {"recall": 0.5}


def test_balcap_corpus_is_the_harmonic_mean_of_means():
    context, stats, table = measure(BalCap(FakeClaims(["red ball"])), ["red ball", "red ball. cat. dog. cow"])
    precision, recall = table[:, 1].mean(), table[:, 2].mean()
    total = dict(zip(context.outputs, BalCap(FakeClaims()).finalize(stats.rows.sum(0))))
    assert total["harmonic"] == pytest.approx(2 * precision * recall / (precision + recall))


class Grading(FakeClaims):
    """Also grades: "cat" is well said, "late" could not be graded, anything else is so-so."""

    def grade(self, axes, texts, *, seed=0):
        self.calls.append(("grade", list(texts), seed))
        marks = [dict.fromkeys(axes, 1.0 if "cat" in text else 0.25) for text in texts]
        return [Grade({}, "timeout") if "late" in text else Grade(m) for text, m in zip(texts, marks)]


def test_b_capscore_is_the_harmonic_mean_of_three_by_hand():
    scorer = BalCap(Grading(["red ball"]), language="judge")
    assert scorer.spec.headline == "b_capscore"
    found, _ = scores(scorer, "red ball. blue cat")  # precision 1/2, recall 1/2, language 1
    assert found == pytest.approx(
        {"b_capscore": 3 / 5, "harmonic": 0.5, "precision": 0.5, "recall": 0.5, "language": 1}
    )
    context, stats, table = measure(scorer, ["red ball. blue cat", "red ball", "", "red ball. late"])
    assert stats.status == ("ok", "ok", "empty", "timeout")
    assert table[1, 0] == pytest.approx(3 / (1 + 2 + 4))
    assert table[2].tolist() == [0] * 5
    assert np.isnan(table[3]).all()  # its language is unknown, and so is all that is made of it
    # Over a corpus: of the means, 1/2, 1/3 and 5/12.
    total = dict(zip(context.outputs, scorer.finalize(stats.rows.sum(0))))
    assert total["b_capscore"] == pytest.approx(3 / (2 + 3 + 12 / 5))
    assert context.claims.calls[-1][0] == "grade"


def test_b_capscore_without_units_is_unknown_and_without_truth_0():
    scorer = BalCap(Grading(["red ball"]), language="judge", evidence="image", facts="references")
    mute = Sample("mute", Path("2.png"))
    _, stats, table = measure(scorer, ["red ball", "a cat"], [mute, PICTURE])
    assert stats.status == ("ok", "ok")
    assert np.isnan(table[0, [0, 1, 3]]).all()
    assert table[0, [2, 4]].tolist() == [1, 0.25]
    assert table[1].tolist() == [0, 0, 0, 0, 1]


def test_b_capscore_of_learned_language(tmp_path):
    samples = [to_sample(sample_scene(seed=5, index=i), tmp_path / f"{i}.png") for i in range(40)]
    expert = [sample.references[0] for sample in samples]
    options = {"evidence": "facts", "facts": "meta"}
    plain, learned = BalCap(**options), BalCap(**options, language="references")
    context, stats, table = measure(learned, expert, samples)
    _, alone, _ = measure(plain, expert, samples)
    language = Language()
    own = language.prepare(Corpus(samples))
    wanted = language.stats([Item(s, c) for s, c in zip(samples, expert)], own)
    np.testing.assert_array_equal(stats.rows[:, :4], alone.rows)
    np.testing.assert_array_equal(table[:, -1], language.finalize(wanted.rows)[:, -1])
    assert "|language:learned:references/" in learned.signature(context)
    assert learned.signature(context).endswith("|v:1")
    one = learned.stats([Item(samples[3], expert[3])], context)
    assert one.rows[0].tolist() == stats.rows[3].tolist()


def test_b_capscore_refusals():
    for language in (3, True, ["references", 1], {"learn_from": "references"}):
        with pytest.raises(ScorerError, match="balcap.language: must be text or a list"):
            get_scorer("balcap", language=language)
    with pytest.raises(ScorerError, match="balcap: b-CapScore needs parts: both, not 'recall'"):
        BalCap(FakeClaims(), parts="recall", language="references")
    with pytest.raises(ModelError, match="does not grade"):
        BalCap("lexical", language="judge").prepare(Corpus([PICTURE]))
    with pytest.raises(ScorerError, match="there is no file 'assistent'"):
        BalCap(FakeClaims(), language="assistent")
