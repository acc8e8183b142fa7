"""Slices of encoded prompts carry everything a family needs, deep visual features included."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from PIL import Image

import tiny_models
from capwright.models import load_policy
from capwright.types import Request, Sample

WRITERS = {
    "qwen3-vl": tiny_models.write_qwen3vl,
    "idefics3": tiny_models.write_idefics3,
    "gemma3": tiny_models.write_gemma3,
}


@pytest.mark.parametrize("name", WRITERS)
def test_slices_keep_every_logprob(name, tmp_path):
    policy = load_policy(WRITERS[name](tmp_path / name))
    prompts = ["Toys?", "What do the two children build on the rug? Say it in one sentence.", "Describe this."]
    requests = [Request(Sample(str(i), Path(str(i))), prompt) for i, prompt in enumerate(prompts)]
    sizes = [(60, 60), (112, 84), (60, 60)]
    images = [Image.frombytes("RGB", s, random.Random(i).randbytes(3 * s[0] * s[1])) for i, s in enumerate(sizes)]
    groups = policy.tokenize(policy.encode(requests, images), [["A geoboard", "Two"], ["blue", "A rug"], ["red", "a"]])
    whole = policy.logprobs(groups)
    for rows in ([2, 0], [0], [1, 2]):
        assert torch.allclose(policy.logprobs(groups.select(rows)), whole[rows], atol=1e-5)
    if policy.layout == "packed":
        assert groups.select([0]).prefixes.embeds.shape[1] < groups.prefixes.embeds.shape[1]
