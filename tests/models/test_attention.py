"""Other ways to compute the same attention: FlexAttention's block masks, a compiled model, a cache with room."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.nn.attention.flex_attention import create_mask
from transformers import DynamicCache

import tiny_models
from capwright.models import load_policy
from capwright.models.decoding.kv_cache import PreallocatedLayer, with_room
from capwright.models.packing import block_mask, pack, packed_mask, sight
from capwright.types import Request, Sample, SamplingParams

TEXTS = [["A child builds with red blocks.", "Two children"], ["One child", "A tangram and a drum on the floor"]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tiny_models.write_llava(tmp_path_factory.mktemp("tiny") / "llava", width=64)


def asked():
    prompts = ["Toys?", "What do the children build? Say it in one sentence."]
    requests = [Request(Sample(str(i), Path(str(i))), prompt) for i, prompt in enumerate(prompts)]
    return requests, [Image.frombytes("RGB", (60, 60), random.Random(i).randbytes(10_800)) for i in range(2)]


def with_flex(policy):
    policy.inner.set_attn_implementation({"text_config": "flex_attention"})
    return policy


def learned(policy):
    """Log-probabilities, and the gradient of a fixed weighting of them."""
    policy.model.zero_grad()
    values = policy.logprobs(policy.tokenize(policy.encode(*asked()), TEXTS))
    (values * torch.linspace(-1, 2, values.numel(), device=values.device).view_as(values)).sum().backward()
    return [values.detach(), *(p.grad.clone() for p in policy.model.parameters() if p.grad is not None)]


def test_block_and_dense_mask_are_one_rule():
    prefix = torch.tensor([[False, False, True, True], [True, True, True, True]])
    packing = pack(torch.tensor([[[1, 1, 1], [1, 1, 0]], [[1, 0, 0], [1, 1, 1]]]).bool())
    dense = packed_mask(prefix, packing)
    length = dense.shape[-1]
    assert torch.equal(create_mask(sight(prefix, packing), 2, None, length, length, device="cpu"), dense)
    assert block_mask(prefix, packing).shape == dense.shape
    expected = torch.tensor([[[c == "x" for c in row] for row in image] for image in (
        ["x......", ".x.....", "..x....", "..xx...", "..xxx..", "..xxxx.", "..xx..x"],
        ["x......", "xx.....", "xxx....", "xxxx...", "xxxxx..", "xxxxxx.", "xxxx..x"],
    )])  # fmt: skip
    assert torch.equal(dense[:, 0], expected)


def test_sampling_does_without_flex(folder):
    plain, flex = load_policy(folder), with_flex(load_policy(folder))
    sampling = SamplingParams(max_tokens=5, seed=0)
    with torch.no_grad():
        ours, right = (p.sample(p.encode(*asked()), 3, sampling).tokens for p in (flex, plain))
    assert torch.equal(ours, right)
    assert flex.decoder.config._attn_implementation == "flex_attention"


@pytest.mark.slow
def test_flex_attention_gives_the_same_on_a_cpu(folder):
    """Forward only, since FlexAttention has no backward pass on CPUs; needs a C++ compiler."""
    with torch.no_grad():
        ours, right = (
            p.logprobs(p.tokenize(p.encode(*asked()), TEXTS))
            for p in (with_flex(load_policy(folder)), load_policy(folder))
        )
    assert (ours - right).abs().max() < 1e-5


@pytest.mark.gpu
def test_flex_attention_gives_the_same_with_gradients_on_a_gpu(folder):
    ours = learned(load_policy(folder, device="cuda", attention="flex", layout="packed"))
    right = learned(load_policy(folder, device="cuda", attention="sdpa", layout="packed"))
    for mine, expected in zip(ours, right, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_a_compiled_model_learns_the_same(folder):
    plain, fast = load_policy(folder), load_policy(folder)
    fast.compile()
    for mine, expected in zip(learned(fast), learned(plain), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layout", ["packed", "repeated"])
def test_captions_longer_than_the_first_room(folder, layout):
    policy = load_policy(folder, layout=layout)
    policy.eos_ids = torch.tensor([10**6])
    groups = policy.sample(
        policy.encode(*asked()), 2, SamplingParams(max_tokens=2 * PreallocatedLayer.STEPS + 5, seed=0)
    )
    reported = torch.tensor([[caption.logprob for caption in group] for group in groups.captions])
    assert groups.tokens.shape[-1] == 2 * PreallocatedLayer.STEPS + 5
    assert (policy.logprobs(groups).sum(-1) - reported).abs().max() < 1e-3


def test_a_step_copies_no_prompt():
    cache, plain = DynamicCache(), DynamicCache()
    states = torch.randn(2, 3, 50, 4)
    for each in (cache, plain):
        each.update(states, -states, 0)
    with_room(cache)
    places = set()
    for number in range(40):
        new = torch.full((2, 3, 2, 4), float(number))
        keys, values = cache.update(new, -new, 0)
        expected = plain.update(new, -new, 0)
        assert torch.equal(keys, expected[0])
        assert torch.equal(values, expected[1])
        assert cache.get_seq_length() == plain.get_seq_length()
        places.add(keys.data_ptr())
    assert len(places) == 2
