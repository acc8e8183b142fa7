from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest

from capwright import scenes
from capwright.evaluation import evaluate
from capwright.judges.protocols import Answer
from capwright.scorers import Corpus, Item, RewardView, explain
from capwright.scorers.questions.captionqa import (
    CANNOT_ANSWER,
    CaptionQA,
    is_yes_no,
    is_yes_no_by_letters,
    strict_choice,
    strict_plans,
)
from capwright.types import Caption, DataError, Question, Sample, ScorerError
from word_readers import Fixed, SlowWords

COLOR = Question("What color is the ball?", ("red", "blue", "green", "yellow"), "red", "color")
SIDE = Question("Which side is it on?", ("left", "right"), "left", "place")
ALONE = Question("Is the child alone?", ("yes", "no"), "yes", "people")
SAMPLE = Sample("a", Path("a.png"), questions=(COLOR, SIDE, ALONE))


def run(scorer, items, samples=(SAMPLE,)):
    context = scorer.prepare(Corpus(samples))
    stats = scorer.stats(items, context)
    return stats, dict(zip(context.outputs, scorer.finalize(stats.rows.sum(0)).tolist()))


@pytest.mark.parametrize(("k", "abstaining"), [(2, 0.55), (3, 1 / 3 + 0.05), (4, 0.30), (5, 0.25)])
@pytest.mark.parametrize("strict", [False, True])
def test_the_table(k, abstaining, strict):
    """1 for right, 0 for wrong, 1/K + 0.05 for abstaining: K counts the options without the abstaining one."""
    options = ("red", "blue", "green", "yellow", "black")[:k]
    sample = Sample("k", Path("k"), questions=(Question("What color?", options, "red"),))
    for caption, score in (("it is red", 1), ("it is blue", 0), ("a ball", abstaining)):
        _, found = run(CaptionQA(SlowWords(), strict_paper=strict), [Item(sample, caption)], [sample])
        assert found["score"] == pytest.approx(score, abs=1e-12)


def test_score_by_hand():
    # color right (1), side not told (1/2 + 0.05), yes/no not told (0: abstaining is not offered).
    stats, found = run(CaptionQA(SlowWords()), [Item(SAMPLE, "a red ball")])
    np.testing.assert_allclose(stats.rows[0, :5], [1, 2, 1.55, 3, 0])
    assert found["score"] == pytest.approx(1.55 / 3)
    assert (found["accuracy"], found["abstained"]) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    assert (found["kind:color"], found["kind:place"], found["kind:people"]) == (1, pytest.approx(0.55), 0)


def test_questions_are_pooled_not_images():
    one = Sample("one", Path("x"), questions=(COLOR,))
    _, found = run(CaptionQA(SlowWords()), [Item(SAMPLE, "red left yes"), Item(one, "blue")], [SAMPLE, one])
    assert found["score"] == 3 / 4


def test_an_empty_caption_earns_what_abstaining_earns():
    reader = SlowWords()
    stats, found = run(CaptionQA(reader), [Item(SAMPLE, "")])
    assert stats.status == ("empty",)
    assert reader.asked == []
    assert found["score"] == pytest.approx((0.3 + 0.55 + 0) / 3)
    run(CaptionQA(reader, strict_paper=True), [Item(SAMPLE, "")])
    assert len(reader.asked) == 3


def test_a_call_that_failed_is_unknown_in_both_modes():
    for strict in (False, True):
        stats, found = run(CaptionQA(SlowWords(), strict_paper=strict), [Item(SAMPLE, "red left !alone?")])
        assert (found["score"], found["unanswered"]) == (1, pytest.approx(1 / 3))
        stats, found = run(CaptionQA(SlowWords(), strict_paper=strict), [Item(SAMPLE, "red !is")])
        assert stats.status == ("timeout",)
        assert np.isnan(found["score"])


def test_skipping_an_image_changes_nothing_unless_strict():
    samples = [Sample(f"s{i}", Path("x"), questions=(COLOR, SIDE)) for i in range(12)]
    first = CaptionQA(Fixed(Answer(0)))
    whole, fewer = first.prepare(Corpus(samples)), first.prepare(Corpus(samples[1:]))
    items = [Item(sample, "words") for sample in samples[1:]]
    np.testing.assert_array_equal(first.stats(items, whole).rows, first.stats(items, fewer).rows)
    np.testing.assert_array_equal(first.stats(items[::-1], whole).rows[::-1], first.stats(items, whole).rows)
    strict = strict_plans(samples, 0)
    assert {name: strict[name] for name in list(strict)[1:]} != strict_plans(samples[1:], 0)


def test_every_captioner_sees_the_same_order():
    reader = SlowWords()
    run(CaptionQA(reader), [Item(SAMPLE, "one"), Item(SAMPLE, "two")])
    assert [q.options for q in reader.asked[:3]] == [q.options for q in reader.asked[3:]]
    orders = set()
    for seed in range(50):
        other = SlowWords()
        run(CaptionQA(other, seed=seed), [Item(SAMPLE, "one")])
        orders |= {q.options for q in other.asked if q.text == COLOR.text}
    assert len(orders) > 12


@pytest.mark.parametrize(
    ("question", "ours", "theirs"),
    [
        (Question("The child?", ("yes", "no"), "yes"), True, True),
        (Question("Which?", ("Yes, two", "No, none"), "No, none"), True, True),
        (Question("Which?", ("north", "eyes"), "north"), False, True),  # "no" in "north", "yes" in "eyes"
        (Question("Which?", ("snow", "yes"), "snow"), False, True),
        (Question("Where is north?", ("up", "down"), "up"), False, False),
        (Question("Is it red?", ("red", "blue"), "red"), True, True),
        (Question("Island or lake?", ("island", "lake"), "lake"), False, False),  # "is" is not a word of it
        (Question(" Does it roll?", ("often", "never"), "often"), True, True),
    ],
)
def test_yes_no_by_words(question, ours, theirs):
    assert is_yes_no(question) is ours
    assert is_yes_no_by_letters(question) is theirs


def test_yes_no_questions_offer_no_abstaining():
    only = Sample("y", Path("y"), questions=(ALONE,))
    _, found = run(CaptionQA(SlowWords()), [Item(only, "a ball")], [only])
    assert (found["score"], found["abstained"]) == (0, 1)
    # A reader that tells probabilities and abstains is held to its most probable option.
    for chances, right in (((0.3, 0.1, 0.6), {"yes": 1, "no": 0}), ((0.1, 0.3, 0.6), {"yes": 0, "no": 1})):
        reader = Fixed(Answer(None, abstained=True, probabilities=chances))
        _, found = run(CaptionQA(reader), [Item(only, "a ball")], [only])
        first, second = reader.asked[0].options
        assert found["score"] == (right[first] if first == "yes" else 1 - right[first])
        assert {first, second} == {"yes", "no"}


def test_soft_counts_expected_score():
    only = Sample("s", Path("s"), questions=(SIDE,))
    reader = Fixed(Answer(0, probabilities=(0.5, 0.25, 0.25)))
    _, found = run(CaptionQA(reader, soft=True), [Item(only, "a ball")], [only])
    right = (0.5, 0.25)[reader.asked[0].options.index("left")]
    assert found["score"] == pytest.approx(right + 0.25 * 0.55)
    # Yes/no: the options share all of the probability.
    only = Sample("y", Path("y"), questions=(ALONE,))
    _, found = run(CaptionQA(reader, soft=True), [Item(only, "a ball")], [only])
    assert found["score"] in (pytest.approx(2 / 3), pytest.approx(1 / 3))


def test_strict_order_is_one_sequence_over_the_dataset():
    """Abstaining is appended and shuffled with the others; what the published program skips takes no turn."""
    broken = replace(COLOR, answer="purple")
    single = Question("What is it?", ("ball",), "ball")
    samples = [
        Sample("1", Path("x"), questions=(broken, COLOR, single)),
        Sample("2", Path("x"), questions=(ALONE, SIDE)),
    ]
    random = Random(0)
    orders = []
    for n in (5, 2, 3):  # color, yes/no, side
        order = list(range(n))
        random.shuffle(order)
        orders.append(order)
    plans = strict_plans(samples, 0)
    (color,), (alone, side) = plans["1"], plans["2"]
    assert color.shown.options == tuple([*COLOR.options, CANNOT_ANSWER][place] for place in orders[0])
    assert color.shown.options[color.abstain] == CANNOT_ANSWER
    assert alone.shown.options == tuple(ALONE.options[place] for place in orders[1])
    assert (alone.abstain, alone.forced) == (None, True)
    assert side.shown.options == tuple([*SIDE.options, CANNOT_ANSWER][place] for place in orders[2])


#: Questions of every sort that the published program tells apart: those it shows with "cannot answer", and without.
OPEN = (COLOR, SIDE, Question("What is it?", ("ball", "ball "), "ball"), Question("Shape?", ("a", "b", "c"), " b"))
CLOSED = (ALONE, Question("Which?", ("snow", "eyes", "hat"), "hat"), Question("Is it red?", ("red", "blue"), "blue"))
SKIPPED = (
    Question("What is it?", ("ball",), "ball"),
    Question("Is it a ball?", ("yes",), "yes"),
    Question("What is it?", (), "ball"),
    replace(COLOR, answer="purple"),
    replace(COLOR, answer=""),
)


def published_orders(samples, seed):
    """What the published program shows, derived anew: for each sample, (question, options as shown) in order."""
    random = Random(seed)
    for sample in samples:
        shown = []
        for question in sample.questions:
            if question in OPEN or question in CLOSED:
                options = [*question.options, *([CANNOT_ANSWER] if question in OPEN else [])]
                order = list(range(len(options)))
                random.shuffle(order)
                shown.append((question, tuple(options[place] for place in order)))
        yield sample.id, shown


@pytest.mark.parametrize("mixture", range(40))
def test_strict_order_is_the_published_one_for_any_mixture_of_questions(mixture):
    """A question that is skipped, one with a single option included, moves the order of no later one."""
    seeded_rng = Random(f"mixture {mixture}")
    sorts = (*OPEN, *CLOSED, *SKIPPED)
    samples = [
        Sample(f"{n}", Path("x"), questions=tuple(seeded_rng.choices(sorts, k=seeded_rng.randrange(8))))
        for n in range(20)
    ]
    plans = strict_plans(samples, seed=mixture)
    assert list(plans) == [sample.id for sample in samples]
    for id, shown in published_orders(samples, mixture):
        # The same option twice takes its turn, but there is nothing to ask.
        asked = [(question, options) for question, options in shown if question.options != ("ball", "ball ")]
        assert [(one.question, one.shown.options) for one in plans[id]] == asked
        assert [one.forced for one in plans[id]] == [question in CLOSED for question, _ in asked]


def test_a_skipped_question_moves_no_later_order():
    alone = [Sample(f"{n}", Path("x"), questions=(COLOR,)) for n in range(100)]
    for skipped in SKIPPED:
        first = replace(alone[0], questions=(skipped, COLOR))
        assert strict_plans([first, *alone[1:]], 0) == strict_plans(alone, 0)


@pytest.mark.parametrize(
    ("reply", "place"),
    [
        ("B", 1),
        ("b.", 1),
        ("A cat", 0),  # the article is taken for an answer
        ("The answer is C", 2),
        ("<think>A or B</think>C", 2),
        ("Answer: D", 3),
        ("Answer: A\nB", 1),  # what is after the first line end
        ("B\n", None),  # nothing is left
        ("2", 1),
        ("Z 3", 2),  # a letter of no option, then a number
        ("9", None),
        ("", None),
        ("north", None),
    ],
)
def test_strict_parser(reply, place):
    assert strict_choice(reply, 5) == place


def test_strict_mode_scores_what_its_parser_reads():
    only = Sample("s", Path("s"), questions=(COLOR,))
    (asked,) = strict_plans([only], 0)["s"]
    letter = "ABCDE"[asked.shown.options.index("red")]

    def score(answer):
        return run(CaptionQA(Fixed(answer), strict_paper=True), [Item(only, "words")], [only])[1]["score"]

    assert score(Answer(0, text=letter)) == 1
    assert score(Answer(None, text="ABCDE"[asked.abstain])) == pytest.approx(0.3)
    assert score(Answer(None, status="unparseable", text="none of them")) == 0  # wrong, as published
    assert score(Answer(None, status="unparseable", text=f"I'd say\n{letter}")) == score(Answer(0, text=letter))
    assert np.isnan(score(Answer(None, status="judge_error", text="")))
    assert score(Answer(None, abstained=True, text="F")) == pytest.approx(0.3)
    assert score(Answer(asked.shown.options.index("red"), text="red")) == 1
    unparsed = run(CaptionQA(Fixed(Answer(None, status="unparseable", text="?"))), [Item(only, "words")], [only])
    assert unparsed[0].status == ("unparseable",)  # unknown where it is not strict


def test_explain_shows_each_question():
    scorer = CaptionQA(SlowWords())
    (found,) = explain(scorer, [Item(SAMPLE, "blue left !alone?")], scorer.prepare(Corpus([SAMPLE])))
    assert {one["question"]: one["result"] for one in found["questions"]} == {
        ALONE.text: "unknown",
        COLOR.text: "wrong",
        SIDE.text: "right",
    }


def test_as_a_reward():
    scorer = CaptionQA(SlowWords())
    view = RewardView(scorer, scorer.prepare(Corpus([SAMPLE])))
    reward = view([SAMPLE], [[Caption("red left yes"), Caption("blue right no")]])
    assert reward.values.tolist() == [[1, 0]]


def test_signature_and_refusals():
    scorer = CaptionQA(SlowWords())
    context = scorer.prepare(Corpus([SAMPLE]))
    start = "captionqa|abstain:1/K+.05|shuffle:question|seed:0|questions:3#"
    assert scorer.signature(context).startswith(start)
    strict = CaptionQA(SlowWords(), strict_paper=True)
    prepared = strict.prepare(Corpus([SAMPLE]))
    assert "|shuffle:paper#" in strict.signature(prepared)
    assert prepared.fingerprint != context.fingerprint
    with pytest.raises(DataError, match="'other'.*prepare it with all samples"):
        strict.stats([Item(replace(SAMPLE, id="other"), "x")], prepared)
    with pytest.raises(ScorerError, match="soft must be false"):
        CaptionQA(SlowWords(), soft=True, strict_paper=True)
    with pytest.raises(ScorerError, match="strict_paper: must be"):
        CaptionQA(SlowWords(), strict_paper="yes")
    with pytest.raises(DataError, match="captionqa: no sample has questions"):
        scorer.prepare(Corpus([Sample("b", Path("b"))]))


def test_the_order_of_the_corpus_counts_in_strict_mode_alone():
    samples = [SAMPLE, *(replace(SAMPLE, id=f"{n}") for n in range(5))]
    for strict in (False, True):
        scorer = CaptionQA(SlowWords(), strict_paper=strict)
        there, back = scorer.prepare(Corpus(samples)), scorer.prepare(Corpus(samples[::-1]))
        assert (there.fingerprint == back.fingerprint) is not strict
        assert (scorer.signature(there) == scorer.signature(back)) is not strict
        assert scorer.signature(there) == scorer.signature(scorer.prepare(Corpus(samples)))


def test_a_question_with_one_option_said_twice_is_not_asked():
    sure = Question("What is it?", ("ball", "ball "), "ball")
    for strict in (False, True):
        scorer = CaptionQA(SlowWords(), strict_paper=strict)
        context = scorer.prepare(Corpus([replace(SAMPLE, questions=(sure, *SAMPLE.questions))]))
        assert "|questions:3-1#" in scorer.signature(context)
        stats = scorer.stats([Item(replace(SAMPLE, questions=(sure, *SAMPLE.questions)), "")], context)
        assert len(stats.evidence[0]["questions"]) == 3


@pytest.mark.parametrize("strict", [False, True])
def test_in_the_kindergarten(strict):
    samples = [scenes.to_sample(scenes.sample_scene(5, i), Path(f"{i}.png")) for i in range(30)]
    scorer = CaptionQA(strict_paper=strict)
    expert = evaluate(samples, {s.id: s.references[0] for s in samples}, [scorer], replicates=50)
    casual = evaluate(samples, {s.id: s.meta["casual"][0] for s in samples}, [scorer], replicates=50)
    assert expert.estimate("captionqa").value == 1
    assert 0.4 < casual.estimate("captionqa").value < 0.95
    assert casual.estimate("captionqa", "accuracy").value < casual.estimate("captionqa").value
    assert casual.estimate("captionqa", "kind:name").value < 1
