from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from capwright import scenes
from capwright.evaluation import evaluate
from capwright.scorers import Context, Corpus, Item, RewardView, explain
from capwright.scorers.questions.prism import Prism
from capwright.types import DataError, Question, Sample, ScorerError
from word_readers import SlowWords

COLOR = Question("What color is the ball?", ("red", "blue", "green"), "red", "color")
SIDE = Question("Which side is it on?", ("left", "right"), "left", "place")
SAMPLE = Sample("a", Path("a.png"), questions=(COLOR, SIDE))
OTHER = Sample("b", Path("b.png"), questions=(COLOR,))


def run(items, scorer=None, samples=(SAMPLE, OTHER)):
    scorer = scorer or Prism(SlowWords())
    context = scorer.prepare(Corpus(samples))
    stats = scorer.stats(items, context)
    return stats, dict(zip(context.outputs, scorer.finalize(stats.rows.sum(0)).tolist()))


def test_mean_and_best_by_hand():
    # a: "red" right and left open; then blue wrong and left right. b: blue, wrong, once.
    items = [Item(SAMPLE, "a red ball"), Item(SAMPLE, "a blue ball on the left"), Item(OTHER, "blue")]
    stats, found = run(items)
    assert stats.owner.tolist() == [0, 2]
    assert stats.rows.tolist() == [[2, 1, 4, 2, 2, 0, 2, 1], [0, 0, 1, 0, 1, 0, 1, 1]]
    assert found == {
        "accuracy": 2 / 5,
        "best": 2 / 3,
        "abstained": 1 / 5,
        "unanswered": 0,
        "captions": 1.5,
    }


def test_with_one_caption_best_is_the_accuracy():
    _, found = run([Item(SAMPLE, "red right"), Item(OTHER, "red")])
    assert found["accuracy"] == found["best"] == pytest.approx(2 / 3)


def test_failures_are_neither_right_nor_wrong():
    # The color fails in the second caption. It is right in the first, so it is settled; the side is wrong in both.
    _, found = run([Item(SAMPLE, "red right"), Item(SAMPLE, "right !color")])
    assert (found["accuracy"], found["best"], found["unanswered"]) == (1 / 3, 1 / 2, 1 / 4)
    # Wrong in the first: whether any caption answers it is not known.
    _, found = run([Item(SAMPLE, "blue right"), Item(SAMPLE, "left !color")])
    assert (found["accuracy"], found["best"]) == (1 / 3, 1)
    stats, found = run([Item(SAMPLE, "!what !which"), Item(SAMPLE, "red !which")])
    assert stats.status == ("timeout",)
    assert np.isnan(found["accuracy"])


def test_a_key_that_is_no_option_never_counts_as_right():
    broken = Sample("a", Path("a"), questions=(replace(COLOR, answer=""), replace(SIDE, answer="(unreadable)"), COLOR))
    scorer = Prism(SlowWords())
    context = scorer.prepare(Corpus([broken]))
    assert "|questions:1-2#" in scorer.signature(context)
    stats = scorer.stats([Item(broken, "blue left")], context)
    assert stats.rows[0].tolist() == [0, 0, 1, 0, 1, 0, 1, 1]
    with pytest.raises(DataError, match="prism: none of the 2 questions"):
        scorer.prepare(Corpus([replace(broken, questions=broken.questions[:2])]))


def test_an_image_with_an_unknown_caption_is_unknown_and_an_empty_one_tells_nothing():
    reader = SlowWords()
    stats, _ = run([Item(SAMPLE, "red"), Item(SAMPLE, "", "refusal"), Item(OTHER, "")], Prism(reader))
    assert stats.status == ("refusal", "empty")
    assert stats.rows[1].tolist() == [0, 1, 1, 0, 1, 0, 1, 1]
    assert reader.calls == []


def test_images_without_questions_are_no_failure():
    bare = Sample("bare", Path("x"))
    stats, found = run([Item(bare, "a"), Item(bare, "b")])
    assert stats.status == ("ok",)
    assert np.isnan(found["accuracy"])
    assert found["captions"] == 2


def test_one_call_and_order_does_not_matter():
    reader = SlowWords()
    items = [Item(s, text) for s in (SAMPLE, OTHER) for text in ("red left", "red left", "blue")]
    stats, _ = run(items, Prism(reader, shuffle=True))
    assert len(reader.calls) == 1
    assert len(reader.calls[0]) <= 6  # two captions with two questions, two with one, and nothing twice
    turned, _ = run(items[::-1], Prism(SlowWords(), shuffle=True))
    np.testing.assert_array_equal(turned.rows[::-1], stats.rows)


def test_shuffling_is_an_option():
    orders = set()
    for seed in range(40):
        reader = SlowWords()
        run([Item(OTHER, "red")], Prism(reader, shuffle=True, seed=seed))
        orders.add(reader.calls[0][0][1].options)
    assert len(orders) == 6
    reader = SlowWords()
    run([Item(OTHER, "red")], Prism(reader))
    assert reader.calls[0][0][1].options == COLOR.options


def test_explain_has_every_caption():
    scorer = Prism(SlowWords())
    items = [Item(SAMPLE, "red"), Item(SAMPLE, "blue left")]
    found = explain(scorer, items, scorer.prepare(Corpus([SAMPLE])))
    results = [[one["result"] for one in caption["questions"]] for caption in found[0]["captions"]]
    assert results == [["right", "abstained"], ["wrong", "right"]]
    assert (found[0]["best"], found[0]["questions"], found[1]) == (2, 2, None)


def test_it_is_no_reward():
    scorer = Prism(SlowWords())
    with pytest.raises(ScorerError, match="captions of an image together"):
        RewardView(scorer, scorer.prepare(Corpus([SAMPLE])))


@pytest.mark.parametrize("options", [{"shuffle": 1}, {"seed": True}, {"judge": 3}, {"free": "fuzzy"}])
def test_bad_options_are_refused(options):
    with pytest.raises(ScorerError, match=f"prism.{next(iter(options))}"):
        Prism(**({"judge": SlowWords()} | options))


def test_signature():
    scorer = Prism(SlowWords())
    assert scorer.signature(scorer.prepare(Corpus([SAMPLE]))).startswith("prism|shuffle:no|seed:0|questions:2#")
    scorer = Prism(SlowWords(), shuffle=True, seed=3)
    context = scorer.prepare(Corpus([SAMPLE]))
    assert scorer.signature(context).startswith("prism|shuffle:yes|seed:3|questions:2#")
    with pytest.raises(ScorerError, match="own prepare"):
        scorer.stats([], Context("prism", "", ()))


class FreeWords(SlowWords):
    """Answers open questions with what follows "=" in the caption; "!free" makes them fail."""

    def write(self, task, given, *, seed=0):
        self.calls.append((task, [dict(one) for one in given]))
        return [
            {"status": "timeout"}
            if "!free" in one["caption"]
            else {"status": "ok", "answer": one["caption"].partition("=")[2], "told": "=" in one["caption"]}
            for one in given
        ]


CHART = Sample("c", Path("c.png"), questions=(COLOR, Question("How much?", (), "100")))


def test_free_answers_by_hand():
    # "red" is right both times; 104 is near enough and 120 is not.
    reader = FreeWords()
    stats, found = run([Item(CHART, "red =104"), Item(CHART, "red =120")], Prism(reader, free="relaxed"), [CHART])
    assert stats.rows[0].tolist() == [3, 0, 4, 2, 2, 0, 2, 1]
    assert (found["accuracy"], found["best"]) == (3 / 4, 1)
    assert [len(asked) for asked in (reader.calls[0], reader.calls[1][1])] == [2, 2]  # one call a kind of question
    assert reader.calls[1][1][0] == {"caption": "red =104", "question": "How much?"}  # its key stays here
    results = [one["questions"][0]["result"] for one in stats.evidence[0]["captions"]]
    assert results == ["right", "wrong"]
    _, found = run([Item(CHART, "red =104"), Item(CHART, "red =120")], Prism(FreeWords()), [CHART])
    assert (found["accuracy"], found["captions"]) == (1, 2)  # without `free` the open question is left out


def test_free_answers_that_are_near_count_in_part():
    word = replace(CHART, questions=(Question("What does it say?", (), "sitting"),))
    _, found = run([Item(word, "=kitten"), Item(word, "=nothing like it")], Prism(FreeWords(), free="anls"), [word])
    assert found["accuracy"] == pytest.approx((4 / 7) / 2)
    assert found["best"] == pytest.approx(4 / 7)


def test_free_answers_that_failed_are_unknown_and_what_is_not_told_is_open():
    items = [Item(CHART, "red =5 !free"), Item(CHART, "green"), Item(CHART, "")]
    stats, found = run(items, Prism(FreeWords(), free="exact"), [CHART])
    # Color: right, wrong, open. How much: failed, open, open: whether one answers it is not known.
    assert stats.rows[0].tolist() == [1, 3, 5, 1, 1, 1, 3, 1]
    assert found["unanswered"] == 1 / 6


def test_free_answers_need_a_writer_and_stand_in_the_signature():
    with pytest.raises(ScorerError, match="prism: SlowWords cannot answer open questions"):
        Prism(SlowWords(), free="exact").prepare(Corpus([CHART]))
    scorer = Prism(FreeWords(), free="exact")
    context = scorer.prepare(Corpus([CHART]))
    assert scorer.signature(context).startswith("prism|shuffle:no|free:exact|seed:0|questions:2#")
    assert Prism(FreeWords(), free="anls").prepare(Corpus([CHART])).fingerprint != context.fingerprint


def test_in_the_kindergarten_more_captions_tell_more():
    samples = [scenes.to_sample(scenes.sample_scene(5, i), Path(f"{i}.png")) for i in range(30)]
    one = {s.id: [s.meta["casual"][0]] for s in samples}
    all_of_them = {s.id: list(s.meta["casual"]) for s in samples}
    single = evaluate(samples, one, [Prism()], replicates=50)
    several = evaluate(samples, all_of_them, [Prism()], replicates=50)
    assert several.estimate("prism", "captions").value > 1
    assert single.estimate("prism", "best").value == single.estimate("prism").value
    assert several.estimate("prism", "best").value > several.estimate("prism").value
