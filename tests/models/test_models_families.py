"""More architectures: packed where that is exact, repeated where the model looks ahead; scoring equals sampling."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from PIL import Image

import tiny_models
from capwright.models import load_policy
from capwright.types import Request, Sample, Sampling

FAMILIES = {
    "qwen3-vl": (tiny_models.write_qwen3vl, "packed"),
    "idefics3": (tiny_models.write_idefics3, "packed"),
    "gemma3": (tiny_models.write_gemma3, "repeated"),  # image tokens see each other, and layers have windows
}


@pytest.mark.parametrize("name", FAMILIES)
def test_each_family_samples_scores_and_learns(name, tmp_path):
    write, layout = FAMILIES[name]
    policy = load_policy(write(tmp_path / name))
    assert policy.layout == layout
    requests = [
        Request(Sample("a", Path("a")), "Describe this."),
        Request(Sample("b", Path("b")), "What is on the rug?"),
    ]
    sizes = [(60, 60), (112, 84)]
    images = [Image.frombytes("RGB", s, random.Random(i).randbytes(3 * s[0] * s[1])) for i, s in enumerate(sizes)]

    groups = policy.sample(policy.encode(requests, images), 3, Sampling(max_tokens=6, seed=0))
    reported = torch.tensor([[caption.logprob for caption in group] for group in groups.captions])
    assert (policy.logprobs(groups).sum(-1) - reported).abs().max() < 1e-4

    expert = policy.tokenize(policy.encode(requests, images), [["A geoboard is on the left."], ["Two children sit."]])
    before = policy.logprobs(expert)
    before.sum().backward()
    with torch.no_grad():
        for parameter in policy.model.parameters():
            if parameter.grad is not None:
                parameter.add_(1e-3 * parameter.grad / (parameter.grad.norm() + 1e-9))
    assert policy.logprobs(expert.with_prefixes(policy.encode(requests, images))).sum() > before.sum()
