"""A policy inside the modules that split work over processes learns what it learns alone (here: one process)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed
from PIL import Image
from torch import nn
from torch.distributed.fsdp import fully_shard

import tiny_models
from capwright.models import load_policy
from capwright.models.lm_head import is_plain
from capwright.types import Request, Sample

TEXTS = [["A child builds", "two", "geoboard on"], ["One", "A tangram and a drum", "red"]]


@pytest.fixture
def processes(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    yield torch.distributed.init_device_mesh("cpu", (1,))
    torch.distributed.destroy_process_group()


class Learner(nn.Module):
    def __init__(self, policy):
        super().__init__()
        self.model = policy.model
        self.policy = [policy]  # not a submodule

    def forward(self):
        (policy,) = self.policy
        assert is_plain(policy.head.project)
        requests = [Request(Sample(str(i), Path(str(i))), prompt) for i, prompt in enumerate(["Toys?", "What is it?"])]
        images = [Image.radial_gradient("L").convert("RGB")] * 2
        return policy.logprobs(policy.tokenize(policy.encode(requests, images), TEXTS))


def data_parallel(learner, mesh):
    return nn.parallel.DistributedDataParallel(learner)


def sharded(learner, mesh):
    for layer in learner.policy[0].decoder.layers:
        fully_shard(layer, mesh=mesh)
    return fully_shard(learner, mesh=mesh)


def gradients(learner):
    learner().sum().backward()
    found = {name.removeprefix("module."): p.grad for name, p in learner.named_parameters() if p.grad is not None}
    return {name: grad.full_tensor() if hasattr(grad, "full_tensor") else grad for name, grad in found.items()}


@pytest.mark.parametrize("wrap", [data_parallel, sharded])
def test_gradients_are_those_of_the_bare_policy(tmp_path, processes, monkeypatch, wrap):
    monkeypatch.setattr("capwright.models.lm_head.CHUNK_ENTRIES", 1)
    folder = tiny_models.write_llava(tmp_path / "llava")
    right = gradients(Learner(load_policy(folder, layout="packed")))
    found = gradients(wrap(Learner(load_policy(folder, layout="packed")), processes))
    assert found.keys() == right.keys()
    assert any("lm_head" in name for name in found)
    for name, gradient in right.items():
        torch.testing.assert_close(found[name], gradient)
