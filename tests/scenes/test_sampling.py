from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from capwright.scenes import ACTIVITIES, AREAS, COLORS, LOOK_ALIKES, PLACES, look_alikes, sample_scene, vocabulary
from capwright.scenes.drawing import _ARRANGEMENTS
from capwright.scenes.lexicon import is_set
from capwright.scenes.sampling import COPIES, SPOT_HEIGHTS, SPOT_WIDTHS, TOY_NUMBERS, Rng

N = 6000


@pytest.fixture(scope="module")
def scenes():
    return [sample_scene(7, index) for index in range(N)]


def test_a_scene_depends_on_its_seed_and_index_alone():
    later = sample_scene(3, 12)
    [sample_scene(3, index) for index in range(12)]
    assert sample_scene(3, 12) == later
    assert sample_scene(4, 12) != later
    assert sample_scene(3, 13) != later


def test_a_known_scene_stays_as_it_is():
    """Datasets are remade from a seed: a change of this scene is a change of everybody's data."""
    scene = sample_scene(0, 1)
    assert (scene.category, scene.area) == ("learning centers", "music corner")
    assert [(toy.name, toy.color, toy.count, toy.place) for toy in scene.toys] == [
        ("playground ball", "yellow", 1, "middle"),
        ("hopper ball", "brown", 1, "right"),
    ]
    assert [child.activity for child in scene.children] == ["jumping", "waving"]


def test_every_scene_keeps_the_rules_of_the_world(scenes):
    for scene in scenes:
        assert scene.area in AREAS[scene.category]
        assert 1 <= len(scene.children) <= 4
        assert 1 <= len(scene.toys) <= 4
        assert len({toy.name for toy in scene.toys}) == len(scene.toys)
        assert len({toy.color for toy in scene.toys}) == len(scene.toys)
        assert len({child.activity for child in scene.children}) <= (1 if len(scene.toys) == 4 else 2)
        assert len({child.look for child in scene.children}) == len(scene.children)
        for child in scene.children:
            assert child.activity in ACTIVITIES
            assert child.shirt in COLORS
            assert child.size / 2 <= child.x + 1e-3
            assert child.x - 1e-3 <= 1 - child.size / 2
        for toy in scene.toys:
            assert toy.color in COLORS
            assert toy.count == 1 if is_set(toy.name) else toy.count in (1, 2, 3)


def test_toys_stay_in_the_image_and_apart(scenes):
    for scene in scenes:
        edge = 0.0
        for toy in scene.toys:
            half = toy.size * SPOT_WIDTHS[toy.count] / 2
            assert toy.x - half >= edge - 0.003, scene
            edge = toy.x + half
            assert toy.y + toy.size * SPOT_HEIGHTS[toy.count] / 2 <= 1, scene
        assert edge <= 1.0, scene


def test_a_place_is_where_the_toy_is(scenes):
    for scene in scenes:
        assert [PLACES.index(toy.place) for toy in scene.toys] == sorted(PLACES.index(toy.place) for toy in scene.toys)
        for toy in scene.toys:
            low, high = {"left": (0.1, 0.39), "middle": (0.35, 0.65), "right": (0.61, 0.9)}[toy.place]
            assert low <= toy.x <= high, scene
        assert all(a.x < b.x for a, b in pairwise(scene.toys))


def test_spots_are_as_wide_as_what_is_drawn_in_them():
    for count, copies in _ARRANGEMENTS.items():
        width = max(x + scale / 2 for x, _, scale in copies) - min(x - scale / 2 for x, _, scale in copies)
        height = max(y + scale / 2 for _, y, scale in copies) - min(y - scale / 2 for _, y, scale in copies)
        assert SPOT_WIDTHS[count] == pytest.approx(width, abs=0.05)
        assert SPOT_HEIGHTS[count] == pytest.approx(height, abs=0.05)


def test_numbers_of_toys_and_copies_are_as_documented(scenes):
    numbers = Counter(len(scene.toys) for scene in scenes)
    for number, share in TOY_NUMBERS.items():
        assert numbers[number] / N == pytest.approx(share, abs=0.03)
    counts = Counter(toy.count for scene in scenes for toy in scene.toys)
    assert 0.65 < counts[1] / counts.total() < 0.85
    assert counts[2] > counts[3] > 0
    assert set(counts) == set(COPIES)


def test_toys_and_tiers_are_balanced(scenes):
    names = Counter(toy.name for scene in scenes for toy in scene.toys)
    professional = [name for name, term in vocabulary().items() if term.level == "professional"]
    assert set(names) == set(professional)
    mean = names.total() / len(professional)
    assert all(0.7 * mean < number < 1.3 * mean for number in names.values())
    tiers = Counter(vocabulary()[name].tier for name in names.elements())
    assert all(share / names.total() == pytest.approx(0.2, abs=0.03) for share in tiers.values())


def test_look_alikes_meet_more_often_than_by_chance(scenes):
    pairs = {frozenset(pair) for pair in LOOK_ALIKES}
    several = [scene for scene in scenes if len(scene.toys) == 2]
    meeting = sum(frozenset(toy.name for toy in scene.toys) in pairs for scene in several)
    assert 0.1 < meeting / len(several) < 0.35


def test_look_alikes_are_mutual():
    for a, b in LOOK_ALIKES:
        assert b in look_alikes(a)
        assert a in look_alikes(b)
    assert look_alikes("spinning top") == ()


def test_dice_are_fair_and_repeatable():
    rng = Rng("test", 1)
    picks = Counter(rng.weighted({"a": 0.7, "b": 0.2, "c": 0.1}) for _ in range(5000))
    assert picks["a"] / 5000 == pytest.approx(0.7, abs=0.03)
    assert picks["c"] / 5000 == pytest.approx(0.1, abs=0.02)
    assert sorted(Rng(2).several("abcd", 4)) == list("abcd")
    assert Rng(1, "x").between(0, 1) == Rng(1, "x").between(0, 1) != Rng(2, "x").between(0, 1)
