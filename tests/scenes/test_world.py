"""Worlds in which imitation can fail: tails, experts who do not name everything, few experts, wrong labels."""

from collections import Counter

import pytest

from capwright.scenes import (
    LOOK_ALIKES,
    PLAIN,
    WorldOptions,
    build,
    expert_captions,
    professional_names,
    ranked_names,
    sample_scene,
    split_of,
    to_sample,
    vocabulary,
)
from capwright.scenes.building import _place_in_train
from capwright.scorers import Corpus, get_scorer
from capwright.types import DataError

TRAIN = [index for index in range(1500) if split_of(index) == "train"]


def names_in(text, sample):
    scorer = get_scorer("tts")
    context = scorer.prepare(Corpus([sample], vocabulary()))
    return scorer.spans(text.replace("block corner", "corner"), sample, context)  # which is no toy


def test_defaults_change_nothing():
    for index in range(50):
        scene = sample_scene(3, index)
        assert scene == sample_scene(3, index, 0.0)
        assert expert_captions(scene) == expert_captions(scene, WorldOptions())
        assert to_sample(scene, "x.png") == to_sample(scene, "x.png", options=PLAIN)


def test_ranks_are_spread_evenly_over_the_tiers():
    ranks, words = ranked_names(), vocabulary()
    assert sorted(ranks) == sorted(professional_names())
    for start in range(0, 45, 5):
        assert len({words[name].tier for name in ranks[start : start + 5]}) == 5


def test_a_tail_of_1_is_zipfs_law():
    """The first toy drawn for a scene has probability 1/rank over the harmonic number; look-alikes excepted."""
    alone = [s.toys[0].name for s in (sample_scene(1, i, 1.0) for i in range(12000)) if len(s.toys) == 1]
    counts, harmonic = Counter(alone), sum(1 / rank for rank in range(1, 46))
    for rank in (1, 2, 3, 5, 9):
        expected = len(alone) / rank / harmonic
        assert counts[ranked_names()[rank - 1]] == pytest.approx(expected, abs=4 * expected**0.5)


def test_rare_toys_are_not_dragged_in_by_frequent_look_alikes():
    scenes = [sample_scene(1, i, 1.0) for i in range(4000)]
    pairs = [{toy.name for toy in scene.toys} for scene in scenes]
    seen = Counter(name for pair in pairs for name in pair)
    weights = {name: 1 / (rank + 1) for rank, name in enumerate(ranked_names())}
    for a, b in LOOK_ALIKES:
        common, rare = sorted((a, b), key=lambda name: -weights[name])
        assert seen[rare] < 0.5 * seen[common] or weights[rare] > 0.3 * weights[common]


def test_naming_is_the_share_of_toys_that_are_named_and_labels_stay_complete():
    options = WorldOptions(naming=0.6)
    right = total = 0
    for index in TRAIN:
        scene = sample_scene(2, index)
        sample = to_sample(scene, "x.png", options=options)
        assert [term.name for term in sample.terms] == [toy.name for toy in scene.toys]
        for text in sample.references:
            spans = names_in(text, sample)
            assert {span.status for span in spans} <= {"right", "generic"}
            assert len(spans) == len(scene.toys)
            right, total = right + sum(span.status == "right" for span in spans), total + len(spans)
    assert right / total == pytest.approx(0.6, abs=0.02)


def test_omission_leaves_out_toys_that_are_not_named_but_never_all():
    options = WorldOptions(naming=0.0, omission=1.0)
    for index in TRAIN[:200]:
        sample = to_sample(sample_scene(2, index), "x.png", options=options)
        for text in sample.references:
            assert len(names_in(text, sample)) == 1
    some = [to_sample(sample_scene(2, i), "x.png", options=WorldOptions(naming=0.5, omission=0.5)) for i in TRAIN[:300]]
    mentioned = sum(len(names_in(text, sample)) for sample in some for text in sample.references)
    assert 0.72 < mentioned / sum(2 * len(sample.terms) for sample in some) < 0.85


def test_variety_changes_the_words_and_not_what_is_named():
    options = WorldOptions(variety=1.0)
    starts = Counter()
    for index in TRAIN[:300]:
        scene = sample_scene(2, index)
        sample = to_sample(scene, "x.png", options=options)
        for text, plain in zip(sample.references, expert_captions(scene)):
            assert {s.term for s in names_in(text, sample)} == {toy.name for toy in scene.toys}
            assert len(text.split()) <= max(36, len(plain.split()) + 2)  # an alias may have a word more
            starts[text != plain] += 1
    assert starts[True] > 0.9 * starts.total()


def test_val_and_test_keep_the_whole_truth():
    options = WorldOptions(naming=0.2, omission=0.5, experts=0, label_noise=1.0)
    for index in (4, 9, 14, 19):
        scene = sample_scene(2, index)
        assert to_sample(scene, "x.png", options=options) == to_sample(scene, "x.png")


@pytest.mark.parametrize("experts", [0, 7, 50])
def test_so_many_train_scenes_have_expert_captions(experts):
    samples = [to_sample(sample_scene(2, i), "x.png", options=WorldOptions(experts=experts)) for i in range(100)]
    train = [sample for sample in samples if sample.split == "train"]
    assert [bool(sample.references) for sample in train] == [i < experts for i in range(len(train))]
    assert all(sample.references for sample in samples if sample.split != "train")


def test_place_in_train_counts():
    place = 0
    for index in range(6000):
        assert _place_in_train(index) == place
        place += split_of(index) == "train"


def test_label_noise_is_the_share_of_labels_that_are_missing_or_wrong():
    missing = wrong = total = 0
    for index in TRAIN:
        scene = sample_scene(2, index)
        here = {toy.name for toy in scene.toys}
        labels = [term.name for term in to_sample(scene, "x.png", options=WorldOptions(label_noise=0.2)).terms]
        assert len(set(labels)) == len(labels)
        wrong += sum(label not in here for label in labels)
        missing += len(here) - len(labels)
        total += len(here)
    assert missing / total == pytest.approx(0.1, abs=0.02)
    assert wrong / total == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize(
    ("key", "value"),
    [("tail", -1.0), ("tail", float("nan")), ("naming", 1.5), ("omission", -0.1), ("variety", 2), ("experts", -1)],
)
def test_values_out_of_range_are_named(key, value):
    with pytest.raises(DataError, match=key):
        WorldOptions(**{key: value})


def test_build_writes_the_world_that_was_asked_for(tmp_path):
    from capwright.data import open_dataset

    build(30, 2, tmp_path / "a", size=32, options=WorldOptions(tail=1.0, naming=0.3, experts=5))
    data = open_dataset(tmp_path / "a", "train")
    assert sum(bool(sample.references) for sample in data) == 5
    expected = to_sample(sample_scene(2, 0, 1.0), data[0].image, 32, WorldOptions(tail=1.0, naming=0.3, experts=5))
    assert data[0].references == expected.references


def test_a_sample_says_what_makes_its_scene_again():
    scene = sample_scene(3, TRAIN[5], 1.0)
    meta = to_sample(scene, "x.png", options=WorldOptions(tail=1.0)).meta
    assert sample_scene(meta["seed"], meta["index"], meta["tail"]) == scene != sample_scene(3, TRAIN[5])
    assert "tail" not in to_sample(scene, "x.png").meta
