from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from capwright.scenes import sample_scene, to_sample
from capwright.scorers import Corpus, Item
from capwright.scorers.claims.cccaption import CCCaption
from capwright.types import DataError, Question, Sample, ScorerError
from fake_claims import FakeClaims

COLORS = ("red", "blue", "green", "white")
ASKED = tuple(
    Question(f"Which color is the {thing}?", COLORS, color)
    for thing, color in (("ball", "red"), ("box", "blue"), ("cat", "white"))
)
PICTURE = Sample("1", Path("1.png"), questions=ASKED)


def measure(scorer, captions, sample=PICTURE):
    samples = sample if isinstance(sample, list) else [sample] * len(captions)
    context = scorer.prepare(Corpus(samples))
    stats = scorer.stats([Item(s, c) for s, c in zip(samples, captions)], context)
    return context, stats, scorer.finalize(stats.rows)


def test_by_hand():
    asked = FakeClaims(["it is red", "a tree"])
    # Reading finds "red" for every question: one of three right. Two of four claims are true.
    _, stats, [[both, complete, correct]] = measure(CCCaption(asked, alpha=0.25), ["it is red. a tree. a dog. a cow"])
    assert (complete, correct) == (pytest.approx(1 / 3), 0.5)
    assert both == pytest.approx(0.25 / 3 + 0.75 * 0.5)
    assert [q["result"] for q in stats.evidence[0]["questions"]] == ["right", "wrong", "wrong"]
    assert stats.evidence[0]["claims"][1] == {"claim": "a tree", "verdict": "entailed"}


def test_what_is_not_told_is_not_right_and_no_claims_are_not_correct():
    asked = FakeClaims(["a tree"])
    _, stats, table = measure(CCCaption(asked), ["a tree", "", "..."])
    assert stats.status == ("ok", "empty", "ok")
    assert table.tolist() == [[0.5, 0, 1], [0, 0, 0], [0, 0, 0]]


def test_alpha_0_is_correctness_and_alpha_1_completeness():
    for alpha, column in ((0.0, 2), (1.0, 1)):
        _, _, [found] = measure(CCCaption(FakeClaims(["a"]), alpha=alpha), ["red. a. b"])
        assert found[0] == found[column]
    with pytest.raises(ScorerError, match="alpha"):
        CCCaption(alpha=1.5)


def test_unknown_questions_are_left_out_until_they_are_more_than_half():
    asked = FakeClaims(["red"], faults={ASKED[0].text: "timeout"})
    _, stats, table = measure(CCCaption(asked), ["red"])
    assert stats.status == ("ok",)
    assert table[0, 1] == 0
    assert stats.evidence[0]["questions"][0]["result"] == "unknown"
    asked.faults[ASKED[1].text] = "timeout"
    _, stats, table = measure(CCCaption(asked), ["red"])
    assert stats.status == ("timeout",)
    assert np.isnan(table).all()
    _, stats, _ = measure(CCCaption(FakeClaims(faults={"red": "judge_error"})), ["red"])
    assert stats.status == ("judge_error",)


def test_a_sample_without_questions_has_a_correctness_only():
    bare = replace(PICTURE, id="2", questions=())
    _, _, table = measure(CCCaption(FakeClaims(["red"])), ["red", "red"], [PICTURE, bare])
    assert np.isnan(table[1, :2]).all()
    assert table[1, 2] == 1
    with pytest.raises(DataError, match="no sample has questions"):
        measure(CCCaption(FakeClaims()), ["red"], bare)


def test_each_kind_of_question_is_one_call_and_asked_once():
    asked = FakeClaims(["red"])
    _, stats, _ = measure(CCCaption(asked), ["red. cat", "red. cat", "blue"])
    assert [call[0] for call in asked.calls] == ["answer", "split", "verify"]
    assert len(asked.calls[0][1]) == 6
    assert len(asked.calls[1][1]) == len(asked.calls[2][1]) == 2
    assert stats.rows[0].tolist() == stats.rows[1].tolist()
    assert all(question.answer == "" for _, question in asked.calls[0][1])


def test_another_reader_can_answer():
    claims, reader = FakeClaims(["red"]), FakeClaims()
    scorer = CCCaption(claims, reader=reader)
    context, _, _ = measure(scorer, ["red"])
    assert claims.count("answer") == 0
    assert reader.count("answer") == 1
    text = "cccaption|assistant:fake:1|reader:fake:1|evidence:image|questions:3#"
    assert scorer.signature(context).startswith(text)
    assert scorer.signature(context).endswith("|alpha:.5|seed:0|v:1")


def test_a_reader_must_answer():
    with pytest.raises(ScorerError, match="reader: must be a name"):
        CCCaption(FakeClaims(), reader=object())


def test_on_scenes_with_the_lexical_reader(tmp_path):
    scenes = [to_sample(sample_scene(seed=5, index=i), tmp_path / f"{i}.png") for i in range(30)]
    scorer = CCCaption()

    def totals(captions):
        _, stats, _ = measure(scorer, captions, scenes)
        assert stats.known.all()
        return scorer.finalize(stats.rows.sum(0))

    experts = totals([sample.references[0] for sample in scenes])
    casual = totals([sample.meta["casual"][0] for sample in scenes])
    assert experts == pytest.approx([1, 1, 1])
    assert casual[2] > 0.95
    assert casual[1] < 0.8
