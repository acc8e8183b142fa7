from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from capwright import scenes
from capwright.evaluation import evaluate
from capwright.judges.protocols import Answer
from capwright.scorers import TTS, Corpus, Item, RewardView, explain
from capwright.scorers._asking import (
    QuestionPrompt,
    QuestionResult,
    ask,
    choices,
    seeded_rng,
    shuffled,
    status_of,
    tell,
)
from capwright.scorers.questions.caprl import CapRL
from capwright.types import Caption, DataError, Question, Sample, ScorerError
from word_readers import Fixed, Words

COLOR = Question("What color is the ball?", ("red", "blue", "green", "yellow"), "red", "color")
TOY = Question("Which toy is it?", ("ball", "drum", "kite", "doll"), "ball", "name")
PLACE = Question("Where is the ball?", ("mat", "shelf", "table", "floor"), "shelf", "place")
SAMPLE = Sample("a", Path("a.png"), questions=(COLOR, TOY, PLACE))


def run(scorer, items, samples=(SAMPLE,)):
    context = scorer.prepare(Corpus(samples))
    stats = scorer.stats(items, context)
    return stats, dict(zip(context.outputs, scorer.finalize(stats.rows.sum(0)).tolist()))


def every(reader=None, **options):
    return CapRL(reader or Words(), mode="all-questions", **options)


def test_accuracy_by_hand():
    # The caption tells the toy (right) and a wrong place, and not the color: 1 of 3, one left open.
    stats, found = run(every(), [Item(SAMPLE, "a ball on the table")])
    assert stats.rows[0, :5].tolist() == [1, 1, 1, 3, 0]
    assert found["accuracy"] == found["abstained"] == pytest.approx(1 / 3)
    assert (found["kind:color"], found["kind:name"], found["kind:place"], found["unanswered"]) == (0, 1, 0, 0)


def test_shuffle_by_hand():
    """Contents move, labels stay A, B, C, D: an answer is a place, and what is right goes by the text."""
    order = [2, 0, 3, 1]
    shown = replace(COLOR, options=tuple(COLOR.options[place] for place in order))
    assert shown.options == ("green", "red", "yellow", "blue")
    asked = QuestionPrompt(COLOR, shown)
    told = [tell(asked, Answer(place)).right for place in range(4)]
    assert told == [0, 1, 0, 0]
    assert tell(asked, Answer(None, abstained=True)) == QuestionResult("ok", 0, 1)
    assert tell(asked, Answer(4)).status == "unparseable"  # there is no fifth option
    assert tell(asked, Answer(None)).status == "unparseable"


def test_shuffles_move_contents_and_reach_every_order():
    seen = {shuffled(COLOR, seeded_rng("x", number)).options for number in range(600)}
    assert len(seen) == 24
    assert all(sorted(options) == sorted(COLOR.options) for options in seen)
    assert shuffled(COLOR, seeded_rng("x", 1)).answer == "red"


def test_paper_mode_draws_with_replacement():
    scorer = CapRL(Words(), n=8)
    context = scorer.prepare(Corpus([SAMPLE]))
    draws = [scorer.plan(Item(SAMPLE, f"caption {i}"), context) for i in range(300)]
    assert {len(plan) for plan in draws} == {8}
    assert any(len({one.question.text for one in plan}) < 3 for plan in draws)  # with replacement: some leave one out
    counts = {q.text: sum(one.question is q for plan in draws for one in plan) for q in SAMPLE.questions}
    assert all(700 < count < 900 for count in counts.values())
    orders = {one.shown.options for plan in draws for one in plan if one.question is COLOR}
    assert len(orders) == 24


def test_a_position_is_not_an_answer():
    # Whoever always says A is right in a quarter of the shuffled questions, wherever the key stands.
    scorer = CapRL(Fixed(Answer(0)), n=8)
    _, found = run(scorer, [Item(SAMPLE, f"caption {i}") for i in range(400)])
    assert found["accuracy"] == pytest.approx(0.25, abs=0.03)


def test_abstaining_earns_nothing():
    _, found = run(CapRL(Fixed(Answer(None, abstained=True))), [Item(SAMPLE, "words")])
    assert (found["accuracy"], found["abstained"], found["unanswered"]) == (0, 1, 0)


def test_an_empty_caption_tells_nothing_and_nobody_is_asked():
    reader = Words()
    stats, found = run(CapRL(reader), [Item(SAMPLE, "  ")])
    assert stats.status == ("empty",)
    assert reader.calls == []
    assert (found["accuracy"], found["abstained"]) == (0, 1)


def test_a_failed_question_is_unknown_and_never_wrong():
    # Of three questions one fails: measured on the two that are known.
    stats, found = run(every(), [Item(SAMPLE, "a red ball on the shelf !where")])
    assert stats.status == ("ok",)
    assert stats.rows[0, :5].tolist() == [2, 0, 2, 2, 1]
    assert found["accuracy"] == 1
    assert found["unanswered"] == pytest.approx(1 / 3)
    assert np.isnan(found["kind:place"])
    # Of three questions two fail: too little is known.
    stats, found = run(every(), [Item(SAMPLE, "a red ball on the shelf !where !what")])
    assert stats.status == ("judge_error",)
    assert stats.rows[0].tolist() == [0, 0, 0, 0, 3, *[0] * 6]
    assert np.isnan(found["accuracy"])
    assert found["unanswered"] == 1
    assert np.isnan(found["accuracy"])
    assert [one["result"] for one in stats.evidence[0]["questions"]] == ["unknown", "unknown", "right"]


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([], "ok"),
        (["ok", "timeout"], "ok"),  # exactly half
        (["ok", "timeout", "timeout"], "timeout"),
        (["timeout", "judge_error", "judge_error", "ok", "ok"], "judge_error"),
        (["timeout", "judge_error"], "judge_error"),  # as many of both: by the alphabet
    ],
)
def test_at_least_half_must_be_known(statuses, expected):
    assert status_of([QuestionResult(status) for status in statuses]) == expected


def test_captions_that_are_unknown_stay_unknown():
    reader = Words()
    stats, found = run(CapRL(reader), [Item(SAMPLE, "", "refusal"), Item(SAMPLE, "cut", "truncated")])
    assert stats.status == ("refusal", "truncated")
    assert reader.calls == []
    assert np.isnan(found["accuracy"])


def test_neither_order_nor_batch_changes_a_result():
    others = [Sample(f"s{i}", Path("x.png"), questions=(PLACE, COLOR, TOY)) for i in range(6)]
    items = [Item(s, f"a {c} ball on the shelf") for s in others for c in ("red", "blue")]
    scorer = CapRL(Words())
    context = scorer.prepare(Corpus(others))
    whole = scorer.stats(items, context).rows
    assert len({tuple(row) for row in whole}) > 3
    np.testing.assert_array_equal(scorer.stats(items[::-1], context).rows[::-1], whole)
    np.testing.assert_array_equal(np.concatenate([scorer.stats([item], context).rows for item in items]), whole)
    # Nor does the order in which a sample lists its questions.
    turned = [replace(item, sample=replace(item.sample, questions=item.sample.questions[::-1])) for item in items]
    np.testing.assert_array_equal(scorer.stats(turned, context).rows, whole)
    assert not np.array_equal(CapRL(Words(), seed=1).stats(items, context).rows, whole)


def test_one_call_a_chunk_and_nothing_is_asked_twice():
    reader = Words()
    scorer = CapRL(reader, n=8, shuffle=False)
    context = scorer.prepare(Corpus([SAMPLE]))
    scorer.stats([Item(SAMPLE, "a red ball"), Item(SAMPLE, "a red ball"), Item(SAMPLE, "a blue ball")], context)
    assert len(reader.calls) == 1
    asked = [(evidence, question.text, question.options) for evidence, question in reader.calls[0]]
    assert len(asked) == len(set(asked)) <= 6


def test_the_reader_never_sees_the_key():
    reader = Words()
    run(CapRL(reader), [Item(SAMPLE, "a red ball")])
    assert {question.answer for _, question in reader.calls[0]} == {""}


def test_a_question_whose_key_is_no_option_is_left_out_and_counted():
    broken = replace(COLOR, answer="purple")
    mixed = Sample("m", Path("m"), questions=(broken, TOY, Question("Open?", (), "yes"), Question("?", ("a", "b"), "")))
    assert choices(mixed) == [TOY]
    scorer = every()
    context = scorer.prepare(Corpus([mixed]))
    assert "|questions:1-3#" in scorer.signature(context)
    with pytest.raises(DataError, match="caprl: none of the 1 questions"):
        scorer.prepare(Corpus([Sample("b", Path("b"), questions=(broken,))]))
    with pytest.raises(DataError, match="caprl: no sample has questions"):
        scorer.prepare(Corpus([Sample("b", Path("b"))]))


def test_a_sample_without_questions_is_no_failure():
    bare = Sample("bare", Path("b"))
    stats, found = run(every(), [Item(bare, "a ball")], [SAMPLE, bare])
    assert stats.status == ("ok",)
    assert np.isnan(found["accuracy"])


def test_soft_is_the_expected_accuracy():
    answer = Answer(1, probabilities=(0.2, 0.5, 0.1, 0.0, 0.2))
    stats, _ = run(every(Fixed(answer), soft=True), [Item(SAMPLE, "x")])
    # The keys stand at 0 (color), 0 (name) and 1 (place): 0.2 + 0.2 + 0.5; abstaining 0.2 each.
    np.testing.assert_allclose(stats.rows[0, :4], [0.9, 0.6, 0.9, 3])
    hard, _ = run(every(Fixed(answer)), [Item(SAMPLE, "x")])
    assert hard.rows[0, :2].tolist() == [1, 0]
    # Without probabilities, or with those of other options, the choice counts.
    for other in (replace(answer, probabilities=None), replace(answer, probabilities=(0.5, 0.5))):
        assert run(every(Fixed(other), soft=True), [Item(SAMPLE, "x")])[0].rows[0, 0] == 1


def test_explain_shows_each_question():
    scorer = every()
    context = scorer.prepare(Corpus([SAMPLE]))
    (found,) = explain(scorer, [Item(SAMPLE, "a ball on the table !color")], context)
    assert [(one["kind"], one["result"]) for one in found["questions"]] == [
        ("color", "unknown"),
        ("place", "wrong"),
        ("name", "right"),
    ]
    assert (found["right"], found["abstained"], found["asked"], found["unanswered"]) == (1, 0, 2, 1)
    assert found["questions"][0]["right"] is None


def test_as_a_reward():
    scorer = every()
    view = RewardView(scorer, scorer.prepare(Corpus([SAMPLE])))
    captions = [[Caption("a red ball on the shelf"), Caption(""), Caption("ball !what !where")]]
    reward = view([SAMPLE], captions)
    assert reward.values[0, :2].tolist() == [1, 0]
    assert np.isnan(reward.values[0, 2])
    assert reward.known.tolist() == [[True, True, False]]


def test_signature_says_what_can_change_the_number():
    scorer = CapRL(Words())
    context = scorer.prepare(Corpus([SAMPLE]))
    start, _, rest = scorer.signature(context).partition("|questions:3#")
    assert start == "caprl|mode:paper|n:8|shuffle:yes|seed:0"
    assert rest.endswith("|by:words|v:1")
    assert scorer.prepare(Corpus([replace(SAMPLE, questions=(COLOR,))])).fingerprint != context.fingerprint
    assert CapRL(Words(), n=4).prepare(Corpus([SAMPLE])).fingerprint != context.fingerprint
    every_one = every(soft=True)
    context = every_one.prepare(Corpus([SAMPLE]))
    assert every_one.signature(context).startswith("caprl|mode:all-questions|seed:0|soft:yes|questions:3#")
    assert CapRL(Words(), mode="all-questions", seed=1).signature(context).startswith("caprl|mode:all-questions|seed:1")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"mode": "some"}, "mode"),
        ({"n": 0}, "n"),
        ({"n": True}, "n"),
        ({"seed": 0.5}, "seed"),
        ({"soft": 1}, "soft"),
        ({"shuffle": "no"}, "shuffle"),
        ({"judge": None}, "judge"),
        ({"judge": " "}, "judge"),
        ({"judge": object()}, "judge"),
        ({"judge": {"model": "m"}}, "judge"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_options_are_refused(options, match):
    with pytest.raises(ScorerError, match=f"caprl.{match}: must"):
        CapRL(**({"judge": Words()} | options))


def test_a_reader_that_breaks_its_port_is_an_error():
    class Short(Words):
        def answer(self, asked, *, seed=0):
            return super().answer(asked)[1:]

    class Broken(Words):
        def answer(self, asked, *, seed=0):
            raise KeyError("choices")

    with pytest.raises(ScorerError, match="2 answers to 3 questions"):
        run(every(Short()), [Item(SAMPLE, "x")])
    with pytest.raises(ScorerError, match="caprl: the judge failed on 3 questions: 'choices'"):
        run(every(Broken()), [Item(SAMPLE, "x")])
    with pytest.raises(ScorerError, match="'fine'"):
        run(every(Fixed(Answer(0, status="fine"))), [Item(SAMPLE, "x")])
    assert ask(Words(), [], 0, "caprl") == []


def test_a_context_of_another_scorer_is_refused():
    context = TTS().prepare(Corpus(list(scene_samples(1)), scenes.vocabulary()))
    with pytest.raises(ScorerError, match="own prepare"):
        CapRL(Words()).stats([], context)


def test_questions_of_unknown_captions_count_as_unanswered():
    """Scores are of the captions that are known; how much is missing is said of all of them."""
    other = replace(SAMPLE, id="b")
    said = {"a": "a red ball on the shelf", "b": "a red ball on the shelf !where !what"}
    found = evaluate([SAMPLE, other], said, [every()])
    assert found.estimate("caprl").value == 1
    assert found.unmeasured("caprl") == (1, {"judge_error": 1})
    assert found.estimate("caprl", "unanswered").value == 0.5
    assert evaluate([SAMPLE, other], said | {"b": said["a"]}, [every()]).estimate("caprl", "unanswered").value == 0


def scene_samples(count):
    return [scenes.to_sample(scenes.sample_scene(5, i), Path(f"{i}.png")) for i in range(count)]


@pytest.mark.parametrize("mode", ["paper", "all-questions"])
def test_in_the_kindergarten_experts_tell_all_and_casual_speakers_less(mode):
    samples = scene_samples(40)
    scorer = CapRL(mode=mode)
    expert = evaluate(samples, {s.id: s.references[0] for s in samples}, [scorer], replicates=50)
    casual = evaluate(samples, {s.id: s.meta["casual"][0] for s in samples}, [scorer], replicates=50)
    swapped = {s.id: o.references[0] for s, o in zip(samples, samples[1:] + samples[:1])}
    other = evaluate(samples, swapped, [scorer], replicates=50)
    assert expert.estimate("caprl").value == 1
    assert 0.3 < casual.estimate("caprl").value < 0.9
    assert other.estimate("caprl").value < casual.estimate("caprl").value
    assert {"kind:color", "kind:area", "kind:name"} <= set(expert.scores["caprl"].estimates)
    assert "|by:lexical:" in expert.scores["caprl"].signature
    assert expert.per_image[0].evidence["caprl"]["unanswered"] == 0
