from __future__ import annotations

import re
from collections import Counter

import pytest

from capwright.scenes import (
    ACTIVITIES,
    AREAS,
    COLORS,
    TIER_PROBABILITY,
    casual_captions,
    expert_captions,
    facts,
    look_alikes,
    paraphrases,
    professional_names,
    questions,
    sample_scene,
    vocabulary,
)
from capwright.scenes.language import FEATURE_PROBABILITY, NUMBERS, grammar, noun_phrase, plural_form
from capwright.scenes.lexicon import categories, is_set, plural, plural_name


@pytest.fixture(scope="module")
def scenes():
    return [sample_scene(11, index) for index in range(1500)]


def words(text: str) -> str:
    """A text as lower-case words with one space around each, so that " name " in it is a whole-word search."""
    return f" {' '.join(re.findall(r'[a-z]+', text.lower()))} "


def forms(name: str) -> set[str]:
    term = vocabulary()[name]
    every = {name, plural_name(name), *term.plurals, *term.aliases, *(plural(alias) for alias in term.aliases)}
    return {words(form) for form in every}


def names_in(text: str) -> set[str]:
    return {name for name in professional_names() if any(form in words(text) for form in forms(name))}


def test_the_vocabulary_has_three_levels():
    levels = Counter(term.level for term in vocabulary().values())
    assert levels == {"professional": len(professional_names()), "generic": len(categories()), "vague": 1}
    assert levels["professional"] >= 40
    tiers = Counter(term.tier for term in vocabulary().values() if term.level == "professional")
    assert set(tiers) == set(TIER_PROBABILITY)
    assert max(tiers.values()) - min(tiers.values()) <= 1


def test_experts_name_every_toy_and_no_other(scenes):
    for scene in scenes:
        assert len(expert_captions(scene)) == 2
        for caption in expert_captions(scene):
            assert names_in(caption) == {toy.name for toy in scene.toys}, caption
            for toy in scene.toys:
                assert words(noun_phrase(toy)) in words(caption)
                assert toy.place in words(caption)
            assert scene.area in caption
            assert all(child.activity in caption for child in scene.children)


def test_a_caption_reads_as_people_write():
    for index in range(300):
        for caption in [*paraphrases(sample_scene(2, index)), *casual_captions(sample_scene(2, index))]:
            assert re.fullmatch(r"[A-Z][a-z ,-]*\. [A-Z][a-z ,-]*\.", caption), caption
            assert "  " not in caption
            assert not re.search(r"\ba [aeio]", caption.lower()), caption
            assert not re.search(r"\ban [^aeio]", caption.lower()), caption


def test_paraphrases_differ_in_words_alone(scenes):
    for scene in scenes[:300]:
        assert len(set(paraphrases(scene))) == 4
        assert set(expert_captions(scene)) <= set(paraphrases(scene))


def test_captions_are_short(scenes):
    for scene in scenes:
        for caption in [*paraphrases(scene), *casual_captions(scene)]:
            assert len(re.findall(r"[\w-]+|[^\w\s]", caption)) <= 40, caption


def test_captions_are_the_same_every_time():
    assert casual_captions(sample_scene(1, 5)) == casual_captions(sample_scene(1, 5))
    assert questions(sample_scene(1, 5)) == questions(sample_scene(1, 5))


def test_casual_speakers_name_toys_with_the_probability_of_the_tier(scenes):
    shown: Counter[str] = Counter()
    named: Counter[str] = Counter()
    for scene in scenes:
        for caption in casual_captions(scene):
            said = names_in(caption)
            assert said <= {toy.name for toy in scene.toys}, caption
            for toy in scene.toys:
                tier = vocabulary()[toy.name].tier
                shown[tier] += 1
                named[tier] += toy.name in said
    assert named["never"] == 0
    for tier, probability in TIER_PROBABILITY.items():
        assert named[tier] / shown[tier] == pytest.approx(probability, abs=0.03), tier


def test_unnamed_toys_are_kinds_or_toys_and_half_are_described():
    kinds = toys = described = 0
    for index in range(3000):
        scene = sample_scene(5, index)
        if len(scene.toys) > 1:
            continue
        toy = scene.toys[0]
        for caption in casual_captions(scene):
            if not names_in(caption):
                kind = vocabulary()[toy.name].category
                has_kind = any(form in words(caption) for form in (words(kind), words(plural(kind))))
                kinds += has_kind
                toys += not has_kind
                described += any(feature in caption for feature in grammar()["features"][toy.name])
    assert kinds / (kinds + toys) == pytest.approx(0.6, abs=0.03)
    assert described / (kinds + toys) == pytest.approx(FEATURE_PROBABILITY, abs=0.03)


def test_expert_and_casual_captions_differ_in_nouns_alone(scenes):
    """Put the expert's nouns into a casual caption without features: it becomes a paraphrase by an expert."""
    checked = 0
    for scene in scenes[:400]:
        for expert, casual in zip(paraphrases(scene), casual_captions(scene)):
            if any(feature in casual for toy in scene.toys for feature in grammar()["features"][toy.name]):
                continue
            for toy in scene.toys:
                said = {toy.name, vocabulary()[toy.name].category, "toy"}
                said |= {plural_form(word) for word in said}
                nouns = "|".join(sorted(said, key=len, reverse=True))
                casual = re.sub(rf"(?i)\b{toy.color} ({nouns})\b", f"{toy.color} #", casual)
                expert = re.sub(rf"(?i)\b{toy.color} ({nouns})\b", f"{toy.color} #", expert)
            assert casual == expert
            checked += 1
    assert checked > 300


def test_features_describe_every_toy_without_naming_anything():
    features = grammar()["features"]
    assert list(features) == list(professional_names())
    taken = {words(form) for term in vocabulary().values() for form in (term.name, plural(term.name))}
    taken |= {form for name in professional_names() for form in forms(name)}
    taken |= {words(word) for word in (*COLORS, *ACTIVITIES, *NUMBERS[1:], "left", "middle", "right", "child")}
    taken |= {words(area) for areas in AREAS.values() for area in areas}
    for name, phrases in features.items():
        for phrase in phrases:
            assert len(phrase.split()) <= 6, phrase
            assert not [form for form in taken if form in words(phrase)], (name, phrase)
    every = [phrase for phrases in features.values() for phrase in phrases]
    assert len(set(every)) == len(every)


def test_facts_tell_everything_once(scenes):
    for scene in scenes[:300]:
        found = facts(scene)
        assert len(set(found)) == len(found)
        kinds = Counter(fact.kind for fact in found)
        assert kinds["area"] == kinds["children"] == 1
        assert kinds["activity"] == len({child.activity for child in scene.children})
        assert kinds["name"] == kinds["color"] == kinds["place"] == len(scene.toys)
        assert kinds["count"] == sum(not is_set(toy.name) for toy in scene.toys)
        for fact in found:
            assert re.fullmatch(r"[A-Z][a-z -]*\.", fact.sentence), fact


def test_questions_have_four_options_and_one_right_answer(scenes):
    for scene in scenes[:300]:
        asked = questions(scene)
        here = {toy.name for toy in scene.toys}
        assert {question.kind for question in asked} >= {"area", "children", "activity", "name", "color", "place"}
        for question in asked:
            assert len(set(question.options)) == 4
            assert question.options.count(question.answer) == 1
            if question.kind == "name":
                assert here.intersection(question.options) == {question.answer}
                kin = set(look_alikes(question.answer)) - here
                assert kin <= set(question.options)
            if question.kind == "activity":
                assert {child.activity for child in scene.children}.intersection(question.options) == {question.answer}


def test_right_answers_are_in_no_favorite_position(scenes):
    positions = Counter(q.options.index(q.answer) for scene in scenes for q in questions(scene))
    assert all(n / positions.total() == pytest.approx(0.25, abs=0.02) for n in positions.values())


@pytest.mark.parametrize(
    ("word", "form"), [("board", "boards"), ("blocks", "blocks"), ("hourglass", "hourglasses"), ("box", "boxes")]
)
def test_plurals(word, form):
    assert plural(word) == form
