from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from capwright.curation import Deduplicate
from capwright.data import open_dataset
from capwright.scenes import build
from capwright.types import NO_IMAGE, Sample


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return list(open_dataset(build(12, 0, tmp_path_factory.mktemp("world") / "world", size=64)))


def stored_again(sample, folder, name, quality=80):
    with Image.open(sample.image) as image:
        image.convert("RGB").resize((90, 90)).save(folder / f"{name}.jpg", quality=quality)
    return replace(sample, id=name, image=folder / f"{name}.jpg")


def test_the_first_of_images_that_are_the_same_stays(world, tmp_path):
    again = [stored_again(world[3], tmp_path, f"again-{i}", quality) for i, quality in enumerate((95, 60, 40))]
    step = Deduplicate()
    assert [sample.id for sample in step([*world, *again])] == [sample.id for sample in world]
    assert step.tally.dropped_samples == {"the same image": 3}
    decisions = step.decide([*world, *again])
    assert [decision.reason for decision in decisions[-3:]] == [f"as {world[3].id}"] * 3
    assert [sample.id for sample in step([again[0], *world])] == [
        "again-0", *(sample.id for sample in world if sample != world[3]),
    ]  # fmt: skip
    assert list(Deduplicate(images=False)([*world, *again])) == [*world, *again]


def test_an_image_that_cannot_be_read_is_unknown_and_stays(world, tmp_path):
    gone = replace(world[0], id="gone", image=tmp_path / "gone.png")
    step = Deduplicate()
    assert list(step([gone, *world])) == [gone, *world]
    assert step.tally.unknown == {"missing_image": 1}
    assert "gone.png: does not exist" in step.tally.failures[0][1]
    step = Deduplicate(captions=1.0)
    assert gone not in list(step([*world, gone]))
    assert step.tally.dropped_samples == {"the same words": 1}


def text(id, *references):
    return Sample(id, NO_IMAGE, references)


def left(samples, same):
    return [sample.id for sample in Deduplicate(images=False, captions=same)(samples)]


def test_references_with_nearly_the_same_words():
    samples = [
        text("a", "A red board lies on a table."),
        text("b", "The blue board lies on a table."),
        text("c", "a RED board, lies on: a table"),
        text("d", "On a table", "lies a red board."),
        text("e"),
        text("f"),
    ]
    assert left(samples, 1.0) == ["a", "b", "e", "f"]
    assert left(samples, 0.6) == ["a", "e", "f"]
    assert left(samples, 0.7) == ["a", "b", "e", "f"]


words = st.lists(st.sampled_from("abcdefg"), max_size=6).map(" ".join)


@settings(max_examples=300, deadline=None)
@given(st.lists(words, max_size=8), st.floats(0.05, 1.0))
def test_looking_up_rare_words_finds_what_comparing_all_finds(texts, same):
    samples = [text(str(i), each) for i, each in enumerate(texts)]
    stays: list[int] = []
    for i, each in enumerate(texts):
        own = set(each.split())
        bags = [set(texts[j].split()) for j in stays]
        if not any(own and len(own & bag) / len(own | bag) >= same for bag in bags):
            stays.append(i)
    assert left(samples, same) == [str(i) for i in stays]
