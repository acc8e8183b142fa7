"""Language: what the checks see, that unknown stays unknown, and that captions do not depend on their neighbors."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capwright.judges.protocols import Grade
from capwright.recipes import parse_recipe
from capwright.scenes import casual_captions, expert_captions, sample_scene
from capwright.scorers import Corpus, Item, RewardView, explain, registry
from capwright.scorers.fluency._language_checks import _read, _repeated
from capwright.scorers.fluency.language import AXES, Language
from capwright.training.rewards import make_rewards
from capwright.types import NO_IMAGE, Caption, DataError, ModelError, Sample, ScorerError
from chat_server import ChatServer


def make_samples(n):
    scenes = [sample_scene(1, i) for i in range(n)]
    return [
        Sample(str(s.index), NO_IMAGE, tuple(expert_captions(s)), meta={"casual": casual_captions(s)}) for s in scenes
    ]


SAMPLES = make_samples(400)
SCORER = Language()
CONTEXT = SCORER.prepare(Corpus(SAMPLES))
SCENE = sample_scene(1, 10_000)
GOOD = expert_captions(SCENE)[0]


def scores(*captions, scorer=SCORER, context=CONTEXT, **item):
    return scorer.finalize(scorer.stats([Item(SAMPLES[0], text, **item) for text in captions], context).rows)


def checks(text, **item):
    return explain(SCORER, [Item(SAMPLES[0], text, **item)], CONTEXT)[0]


class Judge:
    """Grades by a table; remembers what it was asked."""

    signature = "judge:table.1"

    def __init__(self, grades):
        self.grades, self.asked = grades, []

    def grade(self, axes, texts, *, seed=0):
        self.asked.append((tuple(axes), list(texts), seed))
        return [self.grades[text] for text in texts]


# without a judge -------------------------------------------------------------------------------------------------


def test_good_captions_are_near_one_and_spoiled_ones_are_not():
    words = GOOD.rstrip(".").split()
    good, backwards, listed, empty = scores(GOOD, " ".join(words[::-1]) + ".", "Geoboard, bead maze, castanets.", "")
    assert good[3] > 0.95
    assert backwards[3] < 0.1
    assert listed[3] < 0.4
    assert listed[0] == 0  # a list is not clear, though names may follow names
    assert empty.tolist() == [0, 0, 0, 0]


def test_language_is_the_mean_of_the_three():
    found = scores(GOOD, "on the left the left", "Red red red.")
    np.testing.assert_allclose(found[:, 3], found[:, :3].mean(1))


def test_each_check_sees_its_own_fault():
    assert checks(GOOD[:-1])["ending"] < checks(GOOD)["ending"]  # every reference ends with a mark
    assert checks(GOOD + " " + GOOD)["fresh"] == 0
    assert checks(GOOD, finish="length")["ending"] < 0.6
    assert checks("Flurb glorp drim vix.")["known"] == 0
    assert checks("Red geoboard, blue maracas, green bead maze, two dolls.")["plain"] < 0.3
    assert checks("Is the left on red a.")["flow"] < 0.2


def test_a_list_is_seen_by_its_words_and_by_its_marks():
    """Either sign is enough."""
    assert checks("A, child, is, in, the, garden, with, a, ball.")["plain"] == 0  # common words, and a mark after each
    assert checks("Geoboard bead maze maracas castanets.")["plain"] == 0  # no mark, and no common word


def test_the_axes_are_products_of_the_checks():
    """Clarity, fluency and coherence: plain, ending and fresh, each times flow and times known."""
    texts = (GOOD, "A child is flurb and glorp on the rug.", "A child flurb is glorp playing vix.", GOOD[:40])
    for text in texts:
        found = checks(text)
        expected = np.array([found["plain"], found["ending"], found["fresh"]]) * found["flow"] * found["known"]
        np.testing.assert_allclose(scores(text)[0, :3], expected, atol=3e-4)
    assert [0 < checks(text)["known"] < 1 for text in texts] == [False, True, True, False]


def test_marks_are_asked_for_only_where_good_texts_have_them():
    bare = [Sample(s.id, NO_IMAGE, tuple(text.rstrip(".") for text in s.references)) for s in SAMPLES]
    context = SCORER.prepare(Corpus(bare))
    for learned, cost in ((context, 0), (CONTEXT, 0.4)):
        with_mark, without = (learned.checks.measure([Item(SAMPLES[0], text)])[0, 2] for text in (GOOD, GOOD[:-1]))
        assert with_mark - without == pytest.approx(cost, abs=0.15)
    assert scores(GOOD[:-1], context=context)[0, 3] > 0.9


def test_a_word_that_fits_very_well_makes_up_for_no_other():
    read = _read([Item(SAMPLES[0], GOOD)], CONTEXT.checks.model, CONTEXT.checks.common, "ptb")
    words = int((~read.is_end).sum())
    for best, counted in ((1.5, 1.5), (2.0, 2.0), (9.0, 2.0)):
        gains = np.full(len(read.gains), -1.0)
        gains[0] = best
        assert replace(read, gains=gains).flow()[0] == pytest.approx((counted - (words - 1)) / words)


def test_casual_words_are_as_good_as_expert_words():
    """Language is not naming: "a red toy" is as well said as "a red geoboard", where both were learned from or not."""
    casual = [casual_captions(sample_scene(1, i))[0] for i in range(10_000, 10_200)]
    expert = [expert_captions(sample_scene(1, i))[0] for i in range(10_000, 10_200)]
    both = Language(learn_from=("references", "meta.casual"))
    context = both.prepare(Corpus(SAMPLES))
    said, named = (scores(*texts, scorer=both, context=context)[:, 3].mean() for texts in (casual, expert))
    assert abs(said - named) < 0.03
    assert scores(*casual)[:, 3].mean() > 0.9


def test_repetition_is_looked_for_in_twenty_pairs_of_words():
    fresh, short = list(range(200)), [1, 2, 1, 2, 3]  # of the pairs 12 21 12 23 one was said before
    looped = [*fresh, *([7, 8, 9, 10] * 6)]  # of its last 20 pairs only the first 10 7 is new
    words, owner = np.array([*fresh, *short, *looped]), np.repeat([0, 1, 3], [200, 5, 224])
    np.testing.assert_allclose(_repeated(words, owner, 4), [0, 1 / 4, 0, 19 / 20])


def test_explain_names_the_odd_place():
    assert checks("A child is geoboard in the garden.")["odd"] in ("child is geoboard", "is geoboard in")
    assert checks("...")["odd"] == ""
    assert explain(SCORER, [Item(SAMPLES[0], "")], CONTEXT) == [None]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(alphabet="ab .,\n'é一", max_size=20) | st.sampled_from([GOOD, "a red ball", "."]), max_size=5))
def test_neighbors_do_not_matter_and_ranges_hold(texts):
    together = scores(*texts).reshape(-1, 4)
    assert ((together >= 0) & (together <= 1)).all()
    for row, text in zip(together, texts):
        np.testing.assert_array_equal(scores(text)[0], row)


def test_the_order_of_the_corpus_does_not_matter():
    other = Language().prepare(Corpus(SAMPLES[::-1]))
    assert other.fingerprint == CONTEXT.fingerprint
    np.testing.assert_array_equal(scores(GOOD, GOOD[:30], context=other), scores(GOOD, GOOD[:30]))
    assert SCORER.signature(CONTEXT).startswith("language|learned:references/800#")
    assert Language().prepare(Corpus(SAMPLES[:300])).fingerprint != CONTEXT.fingerprint


def test_unknown_captions_are_in_no_mean():
    stats = SCORER.stats([Item(SAMPLES[0], "", "timeout"), Item(SAMPLES[0], GOOD)], CONTEXT)
    assert stats.status == ("timeout", "ok")
    np.testing.assert_array_equal(SCORER.finalize(stats.rows.sum(0)), SCORER.finalize(stats.rows[1]))
    assert np.isnan(SCORER.finalize(stats.rows[0])).all()


def test_as_a_reward_it_is_fast():
    view = RewardView(SCORER, CONTEXT)
    groups = [
        [Caption(f"{text} {k}") for k in range(4)] for s in range(250) for text in expert_captions(sample_scene(2, s))
    ]
    start = time.process_time()
    rewards = view([SAMPLES[0]] * len(groups), groups)
    assert 2000 / (time.process_time() - start) > 1000  # 20,000 and more on a quiet core
    assert rewards.known.all()
    assert list(rewards.parts) == [*AXES, "language"]


@pytest.mark.parametrize(
    ("samples", "options", "said"),
    [
        (SAMPLES[:3], {}, "needs 20 texts of at least 2 samples .or lines.; there are 6 of 3"),
        ([Sample("a", NO_IMAGE, ("a dog",) * 30)], {}, "30 of 1"),
        ([Sample(str(i), NO_IMAGE, ("!!!",) * 9) for i in range(5)], {}, "no sentence to learn from"),
        (SAMPLES, {"learn_from": "meta.nothing"}, "meta.nothing, and needs"),
        ([Sample("a", NO_IMAGE, meta={"said": 3})], {"learn_from": "meta.said"}, "'a': meta.said must be"),
    ],
)
def test_what_can_not_be_learned_from(samples, options, said):
    with pytest.raises(DataError, match=said):
        Language(**options).prepare(Corpus(samples))


def test_a_file_of_good_captions(tmp_path):
    file = tmp_path / "good.txt"
    file.write_text("\n".join(text for sample in SAMPLES for text in sample.references) + "\n\n", encoding="utf-8")
    scorer = Language(learn_from=str(file))
    context = scorer.prepare(Corpus([]))
    assert scores(GOOD, scorer=scorer, context=context)[0, 3] > 0.9
    assert scorer.signature(context).startswith("language|learned:file/800#")
    assert scorer.spec.needs == frozenset()
    file.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(DataError, match="good.txt cannot be read"):
        scorer.prepare(Corpus([]))


def test_odd_corpora_have_limits_all_the_same():
    for text in ("dog", "dog dog dog", "a dog. a dog."):
        samples = [Sample(str(i), NO_IMAGE, (text,) * 4) for i in range(10)]
        context = SCORER.prepare(Corpus(samples))
        assert np.isfinite(scores(text, "a cat", "", context=context)).all()


def test_wrong_options():
    with pytest.raises(ScorerError, match="there is no file 'casual'"):
        Language(learn_from="casual")
    with pytest.raises(ScorerError, match="learn_from: is empty"):
        Language(learn_from=())
    with pytest.raises(ScorerError, match="language.tokenizer: .*, not 'ptp'; did you mean \"ptb\""):
        Language(tokenizer="ptp")
    with pytest.raises(ScorerError, match="own prepare"):
        SCORER.stats([], Language.__new__(Language))


# with a judge ----------------------------------------------------------------------------------------------------


def test_a_judge_is_asked_once_for_all_captions():
    judge = Judge({"good": Grade({"clarity": 1.0, "fluency": 0.8, "coherence": 0.6}, reason="reads well")})
    scorer = Language(judge, seed=3)
    context = scorer.prepare(Corpus([]))
    stats = scorer.stats([Item(SAMPLES[0], text) for text in ("good", "", "good")], context)
    assert judge.asked == [(AXES, [], 3), (AXES, ["good", "good"], 3)]
    np.testing.assert_allclose(scorer.finalize(stats.rows)[[0, 2]], [[1.0, 0.8, 0.6, 0.8]] * 2)
    assert scorer.finalize(stats.rows)[1].tolist() == [0, 0, 0, 0]
    assert stats.evidence == ({"reason": "reads well"}, None, {"reason": "reads well"})
    assert scorer.signature(context) == "language|judge:judge:table.1|seed:3|v:1"
    assert (scorer.spec.cost, scorer.spec.needs) == ("calls", {"judge"})


def test_grades_that_could_not_be_had_are_unknown():
    whole = {"clarity": 1.0, "fluency": 1.0, "coherence": 1.0}
    judge = Judge(
        {
            "down": Grade({}, "judge_error"),
            "late": Grade({}, "timeout"),
            "...": Grade({}, "empty"),
            "half": Grade({"clarity": 1.0}),
            "loud": Grade(whole | {"fluency": 7}),
            "nan": Grade(whole | {"fluency": float("nan")}),
            "fine": Grade(whole),
        }
    )
    scorer = Language(judge)
    stats = scorer.stats([Item(SAMPLES[0], text) for text in judge.grades], scorer.prepare(Corpus([])))
    assert stats.status == ("judge_error", "timeout", "empty", "unparseable", "unparseable", "unparseable", "ok")
    assert stats.rows.sum(1).tolist() == [0, 0, 1, 0, 0, 0, 4]  # no words: a known 0, unlike the others
    assert scorer.finalize(stats.rows.sum(0)).tolist() == [0.5] * 4


def test_a_judge_that_loses_count_is_an_error():
    judge = Judge({"good": Grade({})})
    scorer = Language(judge)
    context = scorer.prepare(Corpus([]))
    judge.grade = lambda axes, texts, seed: []
    with pytest.raises(ScorerError, match="language: the judge gave 0 grades for 1 captions"):
        scorer.stats([Item(SAMPLES[0], "good")], context)


def test_a_server_grades():
    def reply(body):
        said = body["messages"][-1]["content"]
        said = said if isinstance(said, str) else "".join(part.get("text", "") for part in said)
        if "nonsense" in said:
            return "I would rather not."
        mark = 5 if "garden" in said else 3
        return json.dumps({"reason": "because", "marks": {"clarity": mark, "fluency": 5, "coherence": 5}})

    with ChatServer(reply) as server:
        scorer = Language({"name": server.address, "model": "toy", "cache": None})
        context = scorer.prepare(Corpus([]))
        items = [Item(SAMPLES[0], text) for text in ("A child is in the garden.", "A room.", "nonsense", " ")]
        stats = scorer.stats(items, context)
    assert stats.status == ("ok", "ok", "unparseable", "empty")
    np.testing.assert_allclose(scorer.finalize(stats.rows)[:2, 0], [1.0, 0.5])
    assert "toy" in scorer.signature(context)


def test_judges_that_do_not_grade_are_refused_at_once():
    with pytest.raises(ScorerError, match="does not grade"):
        Language(object()).prepare(Corpus([]))
    with pytest.raises(ModelError, match="does not grade"):
        Language("lexical").prepare(Corpus([]))


# in a recipe ----------------------------------------------------------------------------------------------------------


def test_options_of_a_recipe_fit():
    options = {"judge": None, "learn_from": ["references", "meta.casual"], "seed": 1}
    assert registry.option_problems("language", options) == {}
    assert registry.option_problems("language", {"learn_from": 3}) == {
        "learn_from": "must be text or a list (text each), not 3"
    }


def test_the_length_mask_of_a_recipe_acts_on_language_alone():
    """Within half and twice the words of the references a caption keeps its score, outside it has 0."""
    registry.register_scorer("mine", Language)
    plan = {
        "name": "t",
        "data": {"path": "x"},
        "stages": [{"name": "rl", "kind": "grpo", "steps": 1}],
        "rewards": {
            "free": {"scorer": "mine", "gate": False},
            "masked": {
                "scorer": "mine",
                "gate": False,
                "only_if": {"of": "length_ratio", "at_least": 0.5, "at_most": 2},
            },
        },
    }
    sample = Sample("x", NO_IMAGE, tuple(expert_captions(SCENE)))
    others = [expert_captions(sample_scene(1, i))[0] for i in range(10_001, 10_004)]
    group = [Caption(GOOD), Caption("A child is in the garden."), Caption(" ".join([GOOD, *others]))]
    found = make_rewards(parse_recipe(plan), SAMPLES, {})([sample], [group]).values[0]
    assert (found[:, 0] > 0.5).all()
    assert found[:, 1].tolist() == [found[0, 0], 0.0, 0.0]
