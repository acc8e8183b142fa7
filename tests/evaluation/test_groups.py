"""Scores by what samples say of themselves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from capwright.evaluation import evaluate
from capwright.evaluation.config import MeasureConfig, prepare
from capwright.evaluation.groups import WITHOUT
from capwright.scenes import casual_captions, sample_scene, to_sample
from capwright.types import DataError

SCENES = [sample_scene(0, index) for index in range(20)]
SAMPLES = [to_sample(scene, Path("x.png")) for scene in SCENES]
SAID = {sample.id: casual_captions(scene)[0] for sample, scene in zip(SAMPLES, SCENES)}
SCORERS = ("tts", "ciderD", "bleu", "length")


def test_a_group_has_the_scores_of_its_samples_alone():
    """In every output and interval, when both are measured by what the whole corpus taught."""
    rulers = prepare(SAMPLES, MeasureConfig(scorers=SCORERS).make_scorers(), None)
    whole = evaluate(SAMPLES, SAID, rulers, by=("category", "area"))
    for key, groups in whole.groups.items():
        assert sum(group.images for group in groups) == 20
        assert len({group.value for group in groups}) == len(groups) > 1
        for group in groups:
            own = [sample for sample in SAMPLES if sample.meta[key] == group.value]
            alone = evaluate(own, {sample.id: SAID[sample.id] for sample in own}, rulers)
            assert group.images == len(own)
            assert group.estimates == {name: one.estimates for name, one in alone.scores.items()}


def test_hits_of_a_group_by_hand():
    found = evaluate(SAMPLES, SAID, ["tts"], by=["area"])
    for group in found.groups["area"]:
        own = [i for i, sample in enumerate(SAMPLES) if sample.meta["area"] == group.value]
        evidence = [found.per_image[i].evidence["tts"] for i in own]
        hits, terms = (sum(one[name] for one in evidence) for name in ("hits", "terms"))
        assert group.estimates["tts"]["micro"].value == pytest.approx(100 * hits / terms)


def test_samples_without_the_key_and_captions_that_are_unknown():
    samples = [*SAMPLES[:18], *(replace(sample, meta={}) for sample in SAMPLES[18:])]
    said = {**SAID, SAMPLES[0].id: {"caption": "", "status": "timeout"}}
    found = evaluate(samples, said, ["tts"], by=["area", "split"])
    assert found.groups["area"][-1].value == WITHOUT
    assert found.groups["area"][-1].images == 2
    first = next(group for group in found.groups["area"] if group.value == SAMPLES[0].meta["area"])
    assert first.scored["tts"] == first.images - 1
    images = {group.value: group.images for group in found.groups["split"]}
    assert images == {"train": 16, "val": 2, "test": 2}
    assert json.loads(json.dumps(found.to_json()))["by"]["split"]["val"]["images"] == 2
    assert "by" not in evaluate(SAMPLES, SAID, ["tts"]).to_json()


def test_a_group_of_which_nothing_is_known_is_unknown():
    said = {**SAID, **{s.id: {"caption": "", "status": "timeout"} for s in SAMPLES if s.meta["area"] == "playground"}}
    found = evaluate(SAMPLES, said, ["tts"], by=["area"])
    lost = next(group for group in found.groups["area"] if group.value == "playground")
    assert lost.estimates["tts"]["micro"].value is None


def test_a_key_that_nobody_has():
    with pytest.raises(DataError, match=r"no sample has 'aera' in meta .*did you mean \"area\".*there are .*category"):
        evaluate(SAMPLES, SAID, ["tts"], by=["aera"])


def test_scores_of_sets_are_left_out():
    found = evaluate(SAMPLES, SAID, ["tts", "distinct"], by=["area"])
    assert list(found.groups["area"][0].estimates) == ["tts"]
