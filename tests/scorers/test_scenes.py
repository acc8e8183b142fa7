"""The ruler and the built-in kindergarten agree on who names things right."""

from __future__ import annotations

from pathlib import Path

import pytest

from capwright import scenes
from capwright.scorers import TTS, Corpus, Item


@pytest.fixture(scope="module")
def samples():
    return [scenes.to_sample(scenes.sample_scene(5, i), Path(f"{i}.png")) for i in range(300)]


def measure(samples, captions):
    scorer = TTS()
    context = scorer.prepare(Corpus(samples, scenes.vocabulary()))
    stats = scorer.stats([Item(s, c) for s, c in zip(samples, captions)], context)
    return dict(zip(context.outputs, scorer.finalize(stats.rows.sum(0)).tolist()))


@pytest.mark.parametrize("which", [0, -1])
def test_experts_name_everything(samples, which):
    found = measure(samples, [sample.references[which] for sample in samples])
    assert set(found.values()) == {100.0}


def test_casual_speakers_never_say_some_names_and_say_no_wrong_ones(samples):
    found = measure(samples, [sample.meta["casual"][0] for sample in samples])
    assert found["tier:never"] == 0
    assert found["tier:frequent"] > found["tier:occasional"] > found["tier:never"]
    assert found["precision"] == 100
    assert found["micro"] < found["weighted"] < 100
