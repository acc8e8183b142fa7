"""The embedded captioner: what its card says is true, and how it learned to see works."""

from __future__ import annotations

import re

import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModel

from capwright.models import load_policy
from capwright.models.loading import EMBEDDED
from capwright.scenes import draw, expert_captions, sample_scene
from capwright.scenes.captioner import build
from capwright.scenes.word_detectors import any_patch, caption_words, teach_to_see
from capwright.types import Request, Sample, SamplingParams


@pytest.fixture(scope="module")
def policy():
    return load_policy("embedded")


def test_the_card_is_true(policy):
    card = (EMBEDDED / "README.md").read_text(encoding="utf-8")
    millions = sum(p.numel() for p in policy.model.parameters()) / 1e6
    assert re.search(r"LLaVA of ([\d.]+) million", card)[1] == f"{millions:.1f}"
    assert int(re.search(r"\((\d+) entries\)", card)[1]) == len(policy.tokenizer)
    assert sum(path.stat().st_size for path in EMBEDDED.iterdir()) < 8_000_000


def test_it_packs(policy):
    assert policy.layout == "packed"


def test_it_sees_where_the_children_are(policy):
    """On scenes it has never seen; most captions are right about the area."""
    scenes = [sample_scene(77, i) for i in range(40)]
    requests = [Request(Sample(str(i), EMBEDDED / "none.png")) for i in range(40)]
    prefixes = policy.encode(requests, [draw(scene) for scene in scenes])
    captions = policy.sample(prefixes, 1, SamplingParams(temperature=0.0, max_tokens=48)).captions
    assert sum(scene.area in group[0].text for scene, group in zip(scenes, captions)) > 30
    assert all(group[0].finish == "stop" for group in captions)


def test_its_tokenizer_loses_nothing():
    tokenizer = build().tokenizer
    for text in [*expert_captions(sample_scene(3, 3)), "Ein Geobrett – 積木 🧩 <image> </s>"]:
        ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
        assert tokenizer.decode(ids) == text


def test_building_is_deterministic():
    first, second = build(seed=4), build(seed=4)
    for a, b in zip(first.model.state_dict().values(), second.model.state_dict().values()):
        assert torch.equal(a, b)


def test_words_worth_a_detector():
    captions = [["a red ball", "the ball"]] * 60 + [["a blue drum", "one drum"]] * 60
    words, shares = caption_words(captions)
    assert words == ["a", "ball", "blue", "drum", "one", "red", "the"]
    assert shares[0].tolist() == [0.5, 1.0, 0, 0, 0, 0.5, 0.5]


def test_any_patch_is_noisy_or():
    votes = torch.randn(3, 5, 2)
    assert torch.allclose(any_patch(votes).sigmoid(), 1 - (1 - votes.sigmoid()).prod(1), atol=1e-5)


def test_a_tower_learns_to_see_color():
    torch.manual_seed(0)
    tower = CLIPVisionModel(
        CLIPVisionConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            image_size=16,
            patch_size=8,
        )
    )
    pixels, captions = 0.1 * torch.randn(120, 3, 16, 16), []
    for i in range(120):
        channel = i % 2
        pixels[i, channel, :8, :8] += 2.0
        captions.append([("red", "green")[channel] + " thing"])
    losses = []
    teach_to_see(
        tower,
        pixels,
        captions,
        steps=200,
        batch=32,
        learning_rate=3e-3,
        progress=lambda s, n, loss: losses.append(loss),
    )
    assert losses[-1] < 0.2
