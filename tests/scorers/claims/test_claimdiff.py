from __future__ import annotations

import math
from pathlib import Path

import pytest

from capwright.scenes.lexical_judge import LexicalJudge
from capwright.scorers import Corpus, Item
from capwright.scorers.claims.claimdiff import ClaimDiff, reward
from capwright.types import NO_IMAGE, Sample, ScorerError
from fake_claims import FakeClaims, FakeWriter

PICTURE = Sample("1", Path("1.png"), ("red ball. blue box. tree",))


def difference(first, second, wrong):
    return {"aspect": "x", "first": first, "second": second, "wrong": wrong, "severity": 1}


def scores(scorer, caption, sample=PICTURE):
    context = scorer.prepare(Corpus([PICTURE, sample]))
    stats = scorer.stats([Item(sample, caption)], context)
    return dict(zip(context.outputs, scorer.finalize(stats.rows[0]))), stats.status[0]


def test_claims_by_hand():
    # Only here: "cat" (true, so the reference left it out), "dog" and "cow" (not true). Only there: "blue box" (true),
    # "tree" (not true).
    asked = FakeClaims(["red ball", "cat", "blue box"])
    found, _ = scores(ClaimDiff(asked), "red ball. cat. dog. cow")
    assert found == {"claimdiff": 0.5 - 0.5 * (3 - 2) / 5, "errors": 3, "reference_errors": 2, "differences": 5}
    plain, _ = scores(ClaimDiff(asked, omissions=False), "red ball. cat. dog. cow")
    assert plain["claimdiff"] == 0.5 - 0.5 * (2 - 1) / 5
    assert scores(ClaimDiff(asked), "red ball. blue box. tree")[0]["claimdiff"] == 0.5
    silent, status = scores(ClaimDiff(asked), "")
    assert (silent["claimdiff"], silent["errors"], status) == (0.5 - 0.5 * (2 - 1) / 3, 2, "empty")


def test_a_judge_lists_the_differences():
    listed = [
        difference("a cat", "a dog", "first"),
        difference("red", "blue", "both"),
        difference("a cup", "", "neither"),
        difference("", "a hat", "second"),
        difference("", "a bag", "neither"),
    ]
    asked = FakeWriter({("differences", "a caption"): {"differences": listed}})
    # Caption: cat and red are wrong, the bag is left out. Reference: blue and hat are wrong, the cup is left out.
    found, _ = scores(ClaimDiff(asked), "a caption")
    assert found == {"claimdiff": 0.5, "errors": 3, "reference_errors": 3, "differences": 5}
    plain, _ = scores(ClaimDiff(asked, omissions=False), "a caption")
    assert (plain["errors"], plain["reference_errors"]) == (2, 2)
    assert asked.calls[0][1] == [{"image": Path("1.png"), "first": "a caption", "second": PICTURE.references[0]}]
    assert asked.count("split") == 0
    assert scores(ClaimDiff(asked, how="claims"), "a caption")[0]["differences"] == 4


@pytest.mark.parametrize(
    ("record", "status"),
    [
        ({"status": "timeout"}, "timeout"),
        ({"status": "what"}, "judge_error"),
        ({"differences": "none"}, "unparseable"),
        ({"differences": [difference("a", "b", "maybe")]}, "unparseable"),
        ({"differences": [{"wrong": "first"}]}, "unparseable"),
        ({}, "unparseable"),
    ],
)
def test_a_judge_that_failed_is_unknown(record, status):
    assert scores(ClaimDiff(FakeWriter({("differences", "x"): record})), "x")[1] == status


def test_a_judge_needs_images_and_references():
    with pytest.raises(ScorerError, match="needs a language model that sees images"):
        ClaimDiff(LexicalJudge(), how="judge").prepare(Corpus([PICTURE]))
    bare = Sample("2", NO_IMAGE, ("a",))
    assert scores(ClaimDiff(FakeWriter({})), "x", bare)[1] == "missing_image"
    with pytest.raises(ScorerError, match="mode: must be one of"):
        ClaimDiff(mode="raw")


def test_modes_by_hand():
    assert reward("normalized_diff", 1, 3, 4) == 0.75
    assert reward("normalized_diff", 0, 0, 0) == 0.5
    assert reward("a_only", 3, 9, 9) == pytest.approx(0.7)
    assert reward("a_only", 12, 0, 12) == 0
    assert reward("normalized_a_only", 0, 0, 0) == 1
    assert reward("normalized_a_only", 0, 5, 10) == pytest.approx(1)
    expected = (0.05 + 0.95 * 0.25) * math.exp(-0.5) * (0.7 + 0.3 * math.log(5) / math.log(11))
    assert reward("normalized_a_only", 2, 0, 4) == pytest.approx(expected)
