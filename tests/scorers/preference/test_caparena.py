"""CapArena against fixed opponents: by hand, in both orders, with judges that fail."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from capwright.evaluation import evaluate
from capwright.judges.protocols import Preference
from capwright.scorers import Corpus, Item, RewardView
from capwright.scorers.preference.caparena import CapArena
from capwright.types import NO_IMAGE, Caption, DataError, ModelError, Sample, ScorerError
from fake_judges import FakeJudge

SAMPLES = [Sample(str(n), NO_IMAGE, (f"a reference of {n}",)) for n in range(1, 4)]


def measured(scorer, captions, samples=SAMPLES):
    context = scorer.prepare(Corpus(samples))
    stats = scorer.stats([Item(s, captions[s.id]) for s in samples], context)
    total = scorer.finalize(stats.rows.sum(0))
    return stats, dict(zip(context.outputs, total.tolist()))


def constant(worth):
    return {sample.id: f"said {worth}" for sample in SAMPLES}


def test_no_rows_at_all():
    """Resamples of captions of which none could be judged, or of which no interval is wanted."""
    scorer = CapArena({"a": {"1": "x 1"}}, FakeJudge())
    assert scorer.finalize(np.zeros((0, 9))).shape == (0, 6)


def test_three_battles_by_hand():
    # Three opponents, each captioned one image: won, lost, tie.
    opponents = {"a": {"1": "poor 1"}, "b": {"2": "good 9"}, "c": {"3": "same same 5"}}
    stats, scores = measured(CapArena(opponents, FakeJudge()), constant(5))
    assert scores["vs:a"] == 100
    assert scores["vs:b"] == -100
    assert scores["vs:c"] == 0
    assert scores["score"] == 0  # (100 - 100 + 0) / 3
    assert scores["ties"] == pytest.approx(1 / 3)
    assert scores["agreement"] == 1
    assert scores["first"] == 0.5
    assert scores["words"] == 2
    assert stats.rows.sum(0)[:12].tolist() == [1, 0, 0, 1, 0, 1, 0, 1, 0, 0, 1, 1]


def test_two_hundred_battles_are_wins_less_losses_by_two():
    # 120 won, 60 lost, 20 ties of 200: (120 - 60) / 2 = 30.
    samples = [Sample(str(n), NO_IMAGE, ("x",)) for n in range(200)]
    theirs = {str(n): f"b {1 if n < 120 else 3 if n < 180 else 2}" for n in range(200)}
    scorer = CapArena({"b": theirs}, FakeJudge(), orders="paper")
    _, scores = measured(scorer, {str(n): "a 2" for n in range(200)}, samples)
    assert scores["score"] == scores["vs:b"] == 30


def test_opponents_count_alike_whatever_the_number_of_their_battles():
    opponents = {"a": {"1": "x 1", "2": "x 1"}, "b": {"3": "x 9"}}
    _, scores = measured(CapArena(opponents, FakeJudge()), constant(5))
    assert scores["score"] == 0  # not (2 - 1) / 3


def test_a_judge_that_only_sees_the_place_can_not_move_the_score():
    class First(FakeJudge):
        def compare(self, asked, *, seed=0):
            return [Preference("first") for _ in asked]

    stats, scores = measured(CapArena({"a": constant(1)}, First()), constant(5))
    assert scores["score"] == 0
    assert scores["first"] == 1
    assert scores["agreement"] == 0
    assert stats.rows[0].tolist()[:4] == [0.5, 0.5, 0, 1]


def test_paper_orders_are_drawn_by_content_and_asked_once():
    samples = [Sample(str(n), NO_IMAGE, ("x",)) for n in range(200)]
    theirs, ours = {s.id: "a 1" for s in samples}, {s.id: "b 2" for s in samples}

    def shown(chosen, seed=0):
        judge = FakeJudge()
        measured(CapArena({"o": theirs}, judge, orders="paper", seed=seed), ours, chosen)
        return {s.id: first == "b 2" for s, (_, first, _, _) in zip(chosen, judge.asked)}

    all_of_them = shown(samples)
    assert len(all_of_them) == 200
    assert 70 < sum(all_of_them.values()) < 130
    assert shown(samples[50:60][::-1]) == {s.id: all_of_them[s.id] for s in samples[50:60]}
    assert shown(samples, seed=1) != all_of_them


def test_each_image_meets_one_opponent_that_other_images_do_not_choose():
    samples = [Sample(str(n), NO_IMAGE, ("x",)) for n in range(600)]
    opponents = {name: {s.id: f"{name} 1" for s in samples} for name in "abc"}

    def met(chosen, opponents=opponents):
        scorer = CapArena(opponents, FakeJudge(), orders="paper")
        stats, _ = measured(scorer, {s.id: "x 2" for s in samples}, chosen)
        assert len(stats.rows) == len(chosen)
        return {s.id: e["opponent"] for s, e in zip(chosen, stats.evidence)}

    everyone = met(samples)
    counts = [list(everyone.values()).count(name) for name in "abc"]
    assert all(160 < count < 240 for count in counts)
    assert met(samples[30:40]) == {s.id: everyone[s.id] for s in samples[30:40]}
    without_c = met(samples, {name: opponents[name] for name in "ab"})
    assert all(without_c[id] == name for id, name in everyone.items() if name != "c")


def test_all_opponents_in_one_call():
    judge = FakeJudge()
    stats, scores = measured(CapArena({"a": constant(1), "b": constant(9)}, judge, match="all"), constant(5))
    assert judge.calls == 1
    assert len(judge.asked) == 12
    assert stats.owner.tolist() == [0, 0, 1, 1, 2, 2]
    assert (scores["vs:a"], scores["vs:b"], scores["score"]) == (100, -100, 0)


def test_the_judge_sees_the_reference_and_the_image(tmp_path):
    image = tmp_path / "1.png"
    samples = [Sample("1", image, ("", "the best one", "another"))]
    for options, expected in (
        ({}, (image, "the best one")),
        ({"reference": False}, (image, "")),
        ({"image": False}, (None, "the best one")),
    ):
        judge = FakeJudge()
        measured(CapArena({"a": {"1": "x 1"}}, judge, **options), {"1": "y 2"}, samples)
        assert [(p, r) for p, _, _, r in judge.asked] == [expected] * 2


@pytest.mark.parametrize(
    ("status", "known"), [("timeout", "timeout"), ("judge_error", "judge_error"), ("?", "judge_error")]
)
def test_a_verdict_that_could_not_be_had_is_unknown(status, known):
    judge = FakeJudge(fails={"broken": status})
    theirs = {**constant(1), "2": "broken 1"}
    stats, scores = measured(CapArena({"a": theirs}, judge), constant(5))
    assert stats.status == ("ok", known, "ok")
    assert not stats.rows[1].any()
    assert stats.evidence[1]["result"] is None
    assert stats.evidence[1]["verdicts"][0]["reason"] == "because of broken"
    assert scores["vs:a"] == 100


def test_one_unknown_order_makes_the_battle_unknown():
    class Half(FakeJudge):
        def compare(self, asked, *, seed=0):
            return [Preference("first" if n % 2 else None, "ok") for n, _ in enumerate(asked)]

    stats, scores = measured(CapArena({"a": constant(1)}, Half()), constant(5))
    assert stats.status == ("unparseable",) * 3
    assert np.isnan(scores["score"])


def test_what_needs_no_judge():
    judge = FakeJudge()
    theirs = {"1": "just the same 1", "2": "words", "3": ""}
    stats, scores = measured(CapArena({"a": theirs}, judge), {"1": "just the same 1 ", "2": " ", "3": ""})
    assert judge.asked == []
    assert stats.status == ("ok", "empty", "empty")
    assert [e["result"] for e in stats.evidence] == [0, -1, 0]
    assert np.isnan(scores["first"])
    assert np.isnan(scores["agreement"])


def test_a_captioner_does_not_meet_itself():
    scorer = CapArena({"me": {"1": "x 1", "2": "x 1"}, "b": {"3": "x 1"}}, FakeJudge(), itself="me")
    stats, scores = measured(scorer, constant(5))
    assert np.isnan(scores["vs:me"])
    assert scores["score"] == scores["vs:b"] == 100
    assert stats.status == ("ok",) * 3


@pytest.mark.parametrize(
    # S_b of three captioners of the published leaderboard against the other two baselines, and their published mean.
    ("itself", "versus", "published"),
    [
        ("gpt", {"cog": 55.5, "cpm": 76.5}, 44.00),
        ("cog", {"gpt": -56.5, "cpm": 31.0}, -8.50),
        ("cpm", {"gpt": -80.0, "cog": -34.0}, -38.00),
    ],
)
def test_the_published_script_counts_a_captioners_own_baseline_as_0(itself, versus, published):
    """200 images a baseline; S_b = (wins - losses) / 2, made here of wins, losses and an even number of ties."""
    opponents, ids = {}, iter(range(600))
    for name in ("gpt", "cog", "cpm"):
        net = round(2 * versus.get(name, 0))
        worth = [1] * max(net, 0) + [9] * max(-net, 0)
        opponents[name] = {str(next(ids)): f"b {w}" for w in worth + [5] * (200 - len(worth))}
    samples = [Sample(str(n), NO_IMAGE, ("x",)) for n in range(600)]
    ours = {sample.id: "a 5" for sample in samples}
    for own, expected in (("skip", sum(versus.values()) / 2), ("zero", published)):
        scorer = CapArena(opponents, FakeJudge(), orders="paper", itself=itself, own=own)
        stats, scores = measured(scorer, ours, samples)
        assert scores["score"] == pytest.approx(expected, abs=5e-3)
        assert {name: scores[f"vs:{name}"] for name in versus} == pytest.approx(versus)
        assert np.isnan(scores[f"vs:{itself}"])
        assert stats.rows[:, 3:12:4].sum() == 400


def test_own_baseline_changes_nothing_else():
    """Without `itself`, and where no other opponent has battles: what was not measured is not 0."""
    opponents = {"me": {"1": "x 1"}, "b": {"2": "x 1"}, "c": {"3": "x 9"}}
    default, zero = (CapArena(opponents, FakeJudge(), own=own) for own in ("skip", "zero"))
    assert measured(default, constant(5))[1] == measured(zero, constant(5))[1]
    lines = [scorer.signature(scorer.prepare(Corpus(SAMPLES))) for scorer in (default, zero)]
    assert lines[0] == lines[1]
    alone = CapArena({"me": constant(1)}, FakeJudge(), itself="me", own="zero")
    stats, scores = measured(alone, constant(5))
    assert np.isnan(scores["score"])
    assert np.isnan(alone.finalize(stats.rows)[:, 0]).all()
    named = [CapArena(opponents, FakeJudge(), itself="me", own=own) for own in ("skip", "zero")]
    lines = [scorer.signature(scorer.prepare(Corpus(SAMPLES))) for scorer in named]
    assert lines[1] == lines[0].replace("|itself:me|", "|itself:me|own:zero|")
    resampled = named[1].finalize(np.array([[0, 0, 0, 0, 3, 1, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0.0]]))
    assert resampled[0, 0] == 25  # b alone has battles: (50 + 0) / 2


def test_captions_without_an_opponent_are_unknown():
    stats, _ = measured(CapArena({"a": {"1": "x 1"}}, FakeJudge()), constant(5))
    assert stats.status == ("ok", "missing_image", "missing_image")


def test_in_an_evaluation_with_intervals_and_as_a_reward():
    opponents = {"a": constant(1), "b": constant(9)}
    scorer = CapArena(opponents, FakeJudge(fails={"lost": "timeout"}), match="all")
    found = evaluate(SAMPLES, {"1": "x 5", "2": "x 5", "3": "lost 5"}, [scorer], replicates=50)
    assert found.estimate("caparena").value == 0
    assert found.estimate("caparena", "vs:a").value == 100
    assert found.scores["caparena"].known.tolist() == [True, True, False]
    assert found.scores["caparena"].status == {"timeout": 2}
    view = RewardView(scorer, scorer.prepare(Corpus(SAMPLES)))
    reward = view(SAMPLES[:2], [[Caption("x 5"), Caption("x 10")], [Caption("x 0"), Caption("lost 5")]])
    assert reward.values[0].tolist() == [0.5, 1]
    assert reward.values[1][0] == 0
    tie = view(SAMPLES[:1], [[Caption("x 9"), Caption("x 1")]])
    assert tie.values.tolist() == [[0.75, 0.25]]  # one won or lost, one tie, which is half of each
    assert np.isnan(reward.values[1][1])


def test_opponents_from_files_and_the_signature(tmp_path):
    path = tmp_path / "gpt.jsonl"
    rows = [{"id": "1", "caption": "x 1"}, {"id": "2", "caption": "", "status": "timeout"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    scorer = CapArena({"gpt": path}, FakeJudge())
    context = scorer.prepare(Corpus(SAMPLES))
    assert context.said == {"1": {"gpt": "x 1"}}
    line = scorer.signature(context)
    assert line.startswith("caparena|judge:fake,skill:None,bias:0.0|against:1#")
    assert line.endswith("|match:one|orders:both|sees:ref+img|seed:0|v:1")
    other = CapArena({"gpt": {"1": "x 2"}}, FakeJudge())
    assert other.signature(other.prepare(Corpus(SAMPLES))) != line
    samples = [replace(sample, references=("another reference",)) for sample in SAMPLES]
    assert scorer.signature(scorer.prepare(Corpus(samples))) != line
    blind = CapArena({"gpt": path}, FakeJudge(), reference=False)
    imaged = [[replace(sample, image=Path("1.png")) for sample in some] for some in (SAMPLES, samples)]
    assert len({blind.signature(blind.prepare(Corpus(some))) for some in imaged}) == 1


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: CapArena(match="some"), ScorerError, 'match: must be "one" or "all"'),
        (lambda: CapArena(orders="one"), ScorerError, 'orders: must be "both" or "paper"'),
        (lambda: CapArena(own="none"), ScorerError, 'own: must be "skip" or "zero"'),
        (lambda: CapArena(reference=False, image=False), ScorerError, "needs the reference or the image"),
        (lambda: CapArena({"a": {}}, itself="b"), ScorerError, "'b' is not an opponent"),
        (lambda: CapArena(["a.json"]), ScorerError, "names with captions"),
        (lambda: CapArena().prepare(Corpus(SAMPLES)), DataError, "no opponents"),
        (lambda: CapArena({"a": {"9": "x"}}, FakeJudge()).prepare(Corpus(SAMPLES)), DataError, "a captioned none"),
        (lambda: CapArena({"a": {"1": ["x", "y"]}}, FakeJudge()).prepare(Corpus(SAMPLES)), DataError, "several"),
        (lambda: CapArena({"a": {"1": "x"}}, object()).prepare(Corpus(SAMPLES)), ScorerError, "cannot compare"),
        (lambda: CapArena({"a": {"1": "x"}}, "nobody").prepare(Corpus(SAMPLES)), ModelError, "nobody"),
        (lambda: CapArena({"a": {"1": "x"}}).prepare(Corpus([Sample("1", NO_IMAGE)])), DataError, "look at"),
        (lambda: CapArena({"a": Path("none.json")}, FakeJudge()).prepare(Corpus(SAMPLES)), DataError, "none.json"),
    ],
)
def test_bad_options_are_refused_in_words(make, error, says):
    with pytest.raises(error, match=says):
        make()


def test_a_judge_that_loses_count_is_an_error():
    class Short(FakeJudge):
        def compare(self, asked, *, seed=0):
            return []

    with pytest.raises(ScorerError, match="0 answers to 6 comparisons"):
        measured(CapArena({"a": constant(1)}, Short()), constant(5))
