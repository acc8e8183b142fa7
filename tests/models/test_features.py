"""The cache of processed images and tower outputs: exact, once a sample, off where it would be wrong."""

from __future__ import annotations

import gc
import random
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from PIL import Image

import tiny_models
from capwright.models import FeatureCache, load_policy
from capwright.models.features import Shelf
from capwright.types import Request, Sample, SamplingParams

WRITERS = {
    "llava": tiny_models.write_llava,
    "llava-next": tiny_models.write_llava_next,
    "qwen2.5-vl": tiny_models.write_qwen25vl,
    "qwen3-vl": tiny_models.write_qwen3vl,
    "idefics3": tiny_models.write_idefics3,
    "gemma3": tiny_models.write_gemma3,
}
SIZES = [(60, 60), (112, 84), (40, 90), (84, 112)]
PLENTY = 1 << 30


@pytest.fixture(scope="module", params=sorted(WRITERS))
def folder(request, tmp_path_factory) -> Path:
    return WRITERS[request.param](tmp_path_factory.mktemp("tiny") / request.param)


@pytest.fixture(scope="module")
def llava(tmp_path_factory) -> Path:
    return tiny_models.write_llava(tmp_path_factory.mktemp("tiny") / "llava")


def image(i: int) -> Image.Image:
    width, height = SIZES[i]
    return Image.frombytes("RGB", (width, height), random.Random(i).randbytes(3 * width * height))


@dataclass
class Album:
    """Requests, and images that count how often they are opened."""

    prompts: tuple[str, ...] = ("Toys?", "What do the two children build?", "Describe this.", "Where is it?")
    opened: int = 0

    def requests(self, rows):
        return [Request(Sample(f"s{i}", Path(f"{i}.png")), self.prompts[i]) for i in rows]

    def images(self, rows):
        def opener(i):
            def open_it():
                self.opened += 1
                return image(i)

            return open_it

        return [opener(i) for i in rows]

    def encode(self, policy, rows):
        return policy.encode(self.requests(rows), self.images(rows))


def blocks_run(policy) -> list[int]:
    """A list that grows by one each time the first block of the vision tower computes."""
    tower = policy.inner.get_encoder(modality="image")
    blocks = next(m for m in tower.modules() if isinstance(m, torch.nn.ModuleList))
    calls: list[int] = []
    blocks[0].register_forward_pre_hook(lambda *_: calls.append(1))
    return calls


def assert_same(ours, plain):
    torch.testing.assert_close(ours.embeds, plain.embeds, rtol=0, atol=1e-6)
    assert torch.equal(ours.mask, plain.mask)
    assert torch.equal(ours.positions, plain.positions)
    for name, value in (plain.extras or {}).items():
        torch.testing.assert_close(ours.extras[name], value, rtol=0, atol=1e-6)


def test_prefixes_are_those_without_a_cache(folder):
    plain, policy, album = load_policy(folder), load_policy(folder), Album()
    policy.cache = FeatureCache(PLENTY)
    for rows in ([0, 1], [2], [1, 3, 0], [3, 2]):
        assert_same(album.encode(policy, rows), plain.encode(album.requests(rows), [image(i) for i in rows]))
    assert policy.cache.tower_off == ""
    assert policy.cache.towers == 4
    assert (policy.cache.hits, policy.cache.misses, album.opened) == (4, 4, 4)


def test_a_known_sample_is_not_opened_and_not_looked_at(folder):
    policy, album = load_policy(folder), Album()
    policy.cache = FeatureCache(PLENTY)
    album.encode(policy, [0, 1])
    opened, calls = album.opened, blocks_run(policy)
    prefixes = album.encode(policy, [1, 0])
    policy.encode_again(prefixes)
    groups = policy.tokenize(prefixes, [["A geoboard", "Two"], ["blue", "A rug"]])
    policy.logprobs(groups)
    assert (album.opened, len(calls)) == (opened, 0)


def test_projector_and_language_model_learn_the_same(folder):
    gradients = []
    for cache in (None, FeatureCache(PLENTY)):
        policy, album = load_policy(folder), Album()
        policy.cache = cache
        policy.model.train()
        for _ in range(2):
            policy.model.zero_grad()
            groups = policy.tokenize(album.encode(policy, [0, 1]), [["A geoboard", "Two"], ["blue", "A rug"]])
            policy.logprobs(groups).sum().backward()
        gradients.append({n: p.grad for n, p in policy.model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-4, atol=1e-5)


def test_the_reference_shares_the_cache(llava):
    policy, album = load_policy(llava), Album()
    policy.freeze_reference()
    policy.cache = FeatureCache(PLENTY)
    groups = policy.tokenize(album.encode(policy, [0, 1]), [["A geoboard"], ["blue"]])
    calls = blocks_run(policy)
    assert torch.allclose(policy.reference_logprobs(groups), policy.logprobs(groups), atol=1e-5)
    assert calls == []


def test_only_what_is_read_is_kept(llava):
    """LLaVA reads one of all the hidden states that its tower returns."""
    policy, album = load_policy(llava), Album()
    policy.cache = FeatureCache(PLENTY)
    album.encode(policy, [0])
    (kept,) = [value for key, value in policy.cache._shelf._held.items() if key[0] == "tower"]
    assert sum(leaf is not None for leaf in kept) == 1


def test_a_tower_that_trains_always_runs(llava):
    policy, album = load_policy(llava, train_vision=True), Album()
    policy.cache = FeatureCache(PLENTY)
    before = album.encode(policy, [0, 1]).embeds
    with torch.no_grad():
        for parameter in policy.inner.get_encoder(modality="image").parameters():
            parameter.add_(0.1)
    after = album.encode(policy, [0, 1]).embeds
    assert not torch.allclose(before, after, atol=1e-3)
    assert "trains" in policy.cache.tower_off
    assert (policy.cache.hits, album.opened) == (2, 2)


def test_dropout_in_training_mode_runs_the_tower(llava):
    policy, album = load_policy(llava), Album()
    for module in policy.inner.get_encoder(modality="image").modules():
        if hasattr(module, "dropout"):
            module.dropout = 0.5
    policy.cache = FeatureCache(PLENTY)
    policy.model.train()
    album.encode(policy, [0, 1])
    calls = blocks_run(policy)
    album.encode(policy, [0, 1])
    assert len(calls) == 1
    policy.model.eval()
    album.encode(policy, [0, 1])
    calls.clear()
    album.encode(policy, [0, 1])
    assert calls == []


def test_a_tower_whose_images_mix_is_found_out(llava):
    """Outputs that depend on the neighbours in the batch cannot be kept one by one."""
    policy, album = load_policy(llava), Album()
    plain = album.encode(policy, [0, 1])
    block = policy.inner.get_encoder(modality="image").encoder.layers[0]
    block.register_forward_pre_hook(lambda _, inputs: (inputs[0] + 0.1 * inputs[0].mean(0, keepdim=True), *inputs[1:]))
    mixed = album.encode(policy, [0, 1])
    assert not torch.allclose(mixed.embeds, plain.embeds, atol=1e-4)
    policy.cache = FeatureCache(PLENTY)
    assert_same(album.encode(policy, [0, 1]), mixed)
    assert "do not give" in policy.cache.tower_off
    assert "forward" not in vars(policy.inner.get_encoder(modality="image"))


@pytest.mark.parametrize("on_disk", [True, False])
def test_what_does_not_fit_goes_to_disk_or_is_made_again(llava, tmp_path, on_disk):
    plain, policy, album = load_policy(llava), load_policy(llava), Album()
    policy.cache = FeatureCache(20_000, tmp_path / "features" if on_disk else None)
    for _ in range(2):
        for rows in ([0, 1], [2, 3]):
            assert_same(album.encode(policy, rows), plain.encode(album.requests(rows), [image(i) for i in rows]))
    assert policy.cache._shelf.used <= 20_000
    assert (album.opened, policy.cache.towers) == ((4, 4) if on_disk else (8, 8))
    assert len(list(tmp_path.glob("features/*/*.pt"))) == (0 if not on_disk else len(policy.cache._shelf._files))
    del policy
    gc.collect()
    assert not list(tmp_path.glob("features/*"))


def test_a_disk_that_can_not_be_written_is_said_and_left(tmp_path, caplog):
    (tmp_path / "file").write_text("not a folder")
    shelf = Shelf(100, tmp_path / "file")
    shelf.put("a", [torch.zeros(25)])
    shelf.put("b", [torch.zeros(25)])
    assert shelf.get("a") is None
    assert torch.equal(shelf.get("b")[0], torch.zeros(25))
    assert "no more features can be kept here" in caplog.text


def test_the_least_recently_used_goes_first():
    shelf = Shelf(200, None)
    for name in "ab":
        shelf.put(name, [torch.zeros(25)])
    shelf.get("a")
    shelf.put("c", [torch.zeros(25)])
    assert [shelf.get(name) is not None for name in "abc"] == [True, False, True]
    shelf.put("a", [torch.zeros(50)])
    assert shelf.used == 200


def test_blind_prompts_do_not_touch_the_cache(llava):
    policy, album = load_policy(llava), Album()
    policy.cache = FeatureCache(PLENTY)
    groups = policy.tokenize(album.encode(policy, [0, 1]), [["A geoboard"], ["blue"]])
    seen = policy.logprobs(groups)
    blind = policy.logprobs(groups, blind=True)
    assert not torch.allclose(seen, blind)
    assert (policy.cache.hits, policy.cache.misses, policy.cache.tower_off) == (0, 2, "")
    drawn = policy.sample(groups.prefixes, 1, SamplingParams(max_tokens=3, seed=0))
    assert len(drawn) == 2
