from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capwright.scenes import (
    LexicalReader,
    casual_captions,
    expert_captions,
    facts,
    paraphrases,
    professional_names,
    questions,
    sample_scene,
)
from capwright.scenes.language import Fact
from capwright.scenes.reading import VERDICTS
from capwright.types import Question

READER = LexicalReader()


def said(text: str) -> set[tuple[str, str, str]]:
    return {(claim.kind, claim.subject, claim.value) for claim in READER.split(text)}


def told(scene) -> set[tuple[str, str, str]]:
    return {(fact.kind, fact.subject, fact.value) for fact in facts(scene)}


def ask(text: str, question: str, *options: str) -> str | None:
    return READER.answer(text, [Question(question, options)])[0]


@pytest.mark.parametrize("seed", [0, 1])
def test_expert_captions_answer_every_question(seed):
    for index in range(300):
        scene = sample_scene(seed, index)
        asked = questions(scene)
        for caption in paraphrases(scene):
            assert READER.answer(caption, asked) == [question.answer for question in asked], caption


def test_expert_captions_split_into_the_facts_of_the_scene():
    for index in range(500):
        scene = sample_scene(2, index)
        for caption in expert_captions(scene):
            assert said(caption) == told(scene), caption
            assert set(READER.verify(facts(scene), caption)) == {"entailed"}


def test_fact_sentences_read_as_what_they_say():
    for index in range(200):
        scene = sample_scene(3, index)
        for fact in facts(scene):
            assert (fact.kind, fact.subject, fact.value) in said(fact.sentence), fact
        everything = " ".join(fact.sentence for fact in facts(scene))
        assert set(READER.verify(facts(scene), everything)) == {"entailed"}, everything


def test_casual_captions_never_mislead():
    """Less is told, nothing wrong: no answer but the right one, no contradiction in either direction."""
    answered = asked_in_all = 0
    for index in range(200):
        scene = sample_scene(4, index)
        asked = questions(scene)
        truth = " ".join(fact.sentence for fact in facts(scene))
        for caption in casual_captions(scene):
            answers = READER.answer(caption, asked)
            assert all(a in (None, q.answer) for a, q in zip(answers, asked)), caption
            answered += sum(a is not None for a in answers)
            asked_in_all += len(asked)
            assert "contradicted" not in READER.verify(facts(scene), caption), caption
            assert "contradicted" not in READER.verify(READER.split(caption), truth), caption
    assert 0.4 < answered / asked_in_all < 0.8


def test_captions_of_other_scenes_are_found_out():
    contradicted = 0
    for index in range(100):
        one, other = sample_scene(5, index), sample_scene(5, index + 1)
        verdicts = READER.verify(facts(one), expert_captions(other)[0])
        same = told(one) & told(other)
        for fact, verdict in zip(facts(one), verdicts):
            if (fact.kind, fact.subject, fact.value) in same:
                assert verdict == "entailed"
            elif fact.kind in ("area", "children"):
                assert verdict == "contradicted"
                contradicted += 1
            elif fact.kind == "name":
                assert verdict == "neutral"
    assert contradicted > 100


def test_what_is_not_mentioned_is_unknown():
    text = "Two children are in the garden, one sitting and one waving."
    assert ask(text, "What color is the geoboard?", "red", "blue", "green", "pink") is None
    assert ask(text, "What is the red toy on the left?", "geoboard", "pegboard", "abacus", "maracas") is None
    assert ask("A red geoboard is on the left.", "Where are the children?", "garden", "sandpit") is None
    claims = READER.split("There are two red geoboards on the left.")
    assert set(READER.verify(claims, text)) == {"neutral"}
    assert set(READER.verify(READER.split(text), "A red geoboard is on the left.")) == {"neutral"}


def test_wrong_values_are_contradicted():
    claims = READER.split("A red geoboard is on the left.")
    verdicts = READER.verify(claims, "Two blue geoboards are on the right.")
    assert dict(zip([claim.kind for claim in claims], verdicts)) == {
        "name": "entailed",
        "color": "contradicted",
        "count": "contradicted",
        "place": "contradicted",
    }
    activity = Fact("activity", "one", "jumping", "One of the children is jumping.")
    assert READER.verify([activity], "One child is sitting and two are waving.") == ["contradicted"]
    assert READER.verify([activity], "The children are sitting.") == ["neutral"]


def test_a_word_for_the_kind_is_entailed_by_a_name_but_not_the_other_way():
    board = READER.split("There is a red board on the left.")
    assert set(READER.verify(board, "A red geoboard is on the left.")) == {"entailed"}
    name = READER.split("There is a red geoboard on the left.")
    assert set(READER.verify(name, "A red board is on the left.")) == {"neutral"}
    assert ask("A red board is on the left.", "What is the red toy on the left?", "geoboard", "pegboard") is None


def test_saying_everything_answers_nothing():
    options = ("geoboard", "pegboard", "abacus", "tangram")
    listed = "We see a red geoboard, a red pegboard, a red abacus and a red tangram on the left."
    assert ask(listed, "What is the red toy on the left?", *options) is None
    both = "A red geoboard is on the left. A blue geoboard is on the right."
    assert ask(both, "What color is the geoboard?", "red", "blue", "green", "pink") is None
    assert READER.verify([Fact("color", "geoboard", "red", "")], both) == ["neutral"]
    areas = "In the garden one child is sitting. In the sandpit one child is sitting."
    assert ask(areas, "Where are the children?", "garden", "sandpit", "nap room", "art studio") is None
    assert ask(areas + " There are four children.", "How many children are there?", "one", "four") is None


def test_denied_toys_are_not_mentioned():
    assert said("There is no geoboard.") == set()
    assert ("name", "geoboard", "geoboard") not in said("There is not a red geoboard on the left.")
    assert ("name", "tricycle", "tricycle") in said("A ride-on toy with no pedals and a red tricycle are on the left.")


@pytest.mark.parametrize(
    ("text", "claim"),
    [
        ("The geoboard is red and the ball is blue.", ("color", "geoboard", "red")),
        ("The geoboard is red and the ball is blue.", ("color", "ball", "blue")),
        ("a Geo-Board, bright RED", ("color", "geoboard", "red")),
        ("2 shiny tricycles", ("count", "tricycle", "two")),
        ("We see an abacus in the center.", ("place", "abacus", "middle")),
        ("Three children with a red abacus are in the garden.", ("children", "", "three")),
        ("Three children with a red abacus are in the garden.", ("count", "abacus", "one")),
        ("There is a hopper ball on the playground.", ("area", "", "playground")),
    ],
)
def test_free_wording_is_read_where_words_are_known(text, claim):
    assert claim in said(text)


def test_a_name_inside_a_word_or_a_longer_name_is_not_read():
    assert said("boarding, balls' scaled instrumental toyed") <= {("name", "ball", "ball")}
    assert said("a playground ball") == {
        ("name", "playground ball", "playground ball"),
        ("count", "playground ball", "one"),
    }


def test_unknown_questions_and_options_have_no_answer():
    text = expert_captions(sample_scene(0, 0))[0]
    assert ask(text, "Why?", "a", "b", "c", "d") is None
    assert ask(text, "Where are the children?", "Mars", "Venus") is None
    assert ask(text, "How many children are there?") is None
    assert ask("", "How many children are there?", "one", "two") is None


PIECES = [
    *professional_names(),
    *("child", "children", "sitting", "one", "two", "four", "a", "red", "on the left", "in the middle", "garden"),
    *("board", "toys", "and", ",", ".", "no", "of the", "is", "are", "with no pedals", "\n", "é", "'", "—", "🧸"),
]


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=80), st.lists(st.sampled_from(PIECES), max_size=25).map(" ".join)))
def test_any_text_can_be_read(text):
    asked = questions(sample_scene(0, 3))
    for answer, question in zip(READER.answer(text, asked), asked):
        assert answer is None or answer in question.options
    claims = READER.split(text)
    assert len(set(claims)) == len(claims)
    assert set(READER.verify(claims, text)) <= set(VERDICTS)
    READER.answer("A red geoboard is on the left.", [Question(text, ("red", text, text, "left"))])
