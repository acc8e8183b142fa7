"""The benchmark of RSRS against imitation: which arms there are, and what the map makes of their rows."""

from __future__ import annotations

import argparse

import pytest

import rsrs_ablation
import rsrs_map
from capwright.recipes import list_recipes
from capwright.scenes import sample_scene, split_of, vocabulary


def row(seed: int, hits: str, wrong: str, world: str = "plain", **more):
    digits = {"hits_by_image": hits, "wrong_by_image": wrong, "never_by_image": "0" * 300, "rarest_by_image": "0" * 300}
    place = {"world": world, "warmup": "expert", "arm": "RSRS", "seed": seed, "steps": 160}
    return {**place, "ciderD": 1.0, "language": 0.5, "seconds": 10.0, "experts": 3, **digits, **more}


def test_the_truth_is_that_of_the_first_test_scenes():
    known = rsrs_map.truth(0.0)
    scene = sample_scene(1, 9)
    assert split_of(9) == "test"
    assert known["terms"][0] == len(scene.toys)
    assert known["never_terms"][0] == sum(vocabulary()[toy.name].tier == "never" for toy in scene.toys)
    assert len(known["terms"]) == 300
    assert known["rarest_terms"].sum() > 100


def test_seeds_are_pooled_and_not_averaged():
    """Precision is right names over all names of both seeds."""
    arm = rsrs_map.Arm([row(0, "1" + "0" * 299, "0" * 300), row(1, "1" + "0" * 299, "9" + "0" * 299)])
    (found,) = rsrs_map.table({("plain", "expert", "RSRS", 160): arm})
    assert found["precision"] == pytest.approx(100 * 2 / 11)
    assert (found["precision_seed_low"], found["precision_seed_high"]) == (10.0, 100.0)
    assert found["tts"] == pytest.approx(100 * 2 / (2 * rsrs_map.truth(0.0)["terms"].sum()))
    assert found["tts_low"] < found["tts"] < found["tts_high"]
    assert found["never"] == found["never_low"] == 0.0 < found["never_high"]  # none of many is no certainty


def test_differences_are_paired():
    """An arm against itself differs by nothing, in every image."""
    hits = "".join(str(i % 2) for i in range(300))
    same = {("plain", "expert", name, 160): rsrs_map.Arm([row(0, hits, "0" * 300)]) for name in ("RSRS", "imitation")}
    found = rsrs_map.differences(same)
    (only,) = [r for r in found if r["than"] == "imitation"]
    (arm, _) = rsrs_map.table(same)
    assert only["tts"] == 0.0
    assert only["tts_high"] - only["tts_low"] < 0.6 * (arm["tts_high"] - arm["tts_low"])
    assert only["seeds"] == 1


def test_every_arm_of_every_cell_makes_a_recipe(tmp_path):
    assert "rsrs-scenes" in list_recipes()
    arguments = argparse.Namespace(cells=None, worlds=None, warmups=None, arms=None, seeds=None, quick=False)
    places = rsrs_ablation.chosen(arguments)
    assert len(places) == len(set(places))
    for world, warmup, arm, seed in places:
        made = rsrs_ablation.recipe_of(
            world, warmup, "warm-up" if arm == "nothing" else arm, seed, tmp_path, "embedded", False
        )
        assert sum(stage.steps for stage in made.stages) in (40, 160, 400)
        assert made.seed == seed


def test_nothing_is_imitated_where_there_are_no_experts():
    asked = {"worlds": ["tail, no experts"], "warmups": ["casual"], "arms": list(rsrs_ablation.ARMS)}
    arguments = argparse.Namespace(cells=None, seeds=None, quick=False, **asked)
    arms = {arm for _, _, arm, _ in rsrs_ablation.chosen(arguments)}
    assert arms == {"nothing", "casual imitation", "GRPO", "RSRS relabeled"}


def test_corrected_captions_name_more_and_stay_true():
    """Of an expert who names nothing: what is clear is named, and no other name appears."""
    from capwright.scenes import WorldOptions, to_sample
    from capwright.scorers import Corpus, get_scorer

    samples = [to_sample(sample_scene(2, i), "x.png", options=WorldOptions(naming=0.0)) for i in range(60)]
    tts = get_scorer("tts")
    context = tts.prepare(Corpus([], vocabulary()))
    statuses = [
        span.status
        for sample in rsrs_ablation.corrected(iter(samples))
        if sample.split == "train"
        for text in sample.meta["corrected"]
        for span in tts.spans(text, sample, context)
    ]
    assert "wrong" not in statuses
    assert statuses.count("right") > 0.6 * len(statuses)
