"""The trainer with real architectures (tiny, random) on drawn scenes."""

from __future__ import annotations

import json

import pytest
import torch

from capwright.models import load_policy
from capwright.recipes import load_recipe
from capwright.runs import train
from capwright.runs.checkpoint import changing_weights
from capwright.runs.setup import build_training_setup, warn_of_half_precision
from capwright.scenes import build
from capwright.training.distributed import ProcessGroup, join
from capwright.training.trainer import Trainer
from capwright.types import CapwrightError
from interruptions import KillAt, Killed
from tiny_models import write_llava, write_qwen25vl

SMALL = [
    "stages.warmup.steps=3", "stages.warmup.images_per_step=4", "stages.warmup.checkpoint_every=2",
    "stages.rsrs.steps=4", "stages.rsrs.images_per_step=4", "stages.rsrs.captions_per_image=4",
    "stages.rsrs.imitation.batch=2", "stages.rsrs.sampling.max_tokens=10", "stages.rsrs.checkpoint_every=2",
    "stages.rsrs.learning_rate=0.003", "stages.rsrs.eval_every=null",
    # a reward that random captions differ in, beside one that they all fail
    "rewards.length={weight: 1.0, gate: false, output: words, range: [0, 12]}",
]  # fmt: skip


PIECES = ["stages.rsrs.micro_batch=2"]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return build(30, 5, tmp_path_factory.mktemp("scenes") / "data", size=64)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {"llava": write_llava(root / "llava"), "qwen": write_qwen25vl(root / "qwen")}


def recipe(models, scenes, family="llava", *more):
    return load_recipe("rsrs-scenes", [f"model.name={models[family]}", f"data.path={scenes}", *SMALL, *more])


def rows(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("family", ["llava", "qwen"])
@pytest.mark.parametrize(
    "more",
    [
        ["model.train_vision=false"],
        ["model.train_vision=false", "model.lora.r=4", "model.lora.dropout=0.1", "stages.rsrs.kl.beta=0.05"],
        ["model.train_vision=true", "stages.rsrs.kl.beta=0.05", "stages.rsrs.inner_epochs=2", *PIECES],
    ],
)
def test_interrupted_and_resumed(models, scenes, tmp_path, family, more):
    this = recipe(models, scenes, family, *more)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(this, out=whole)

    with pytest.raises(Killed):
        train(this, out=broken, progress=KillAt("rsrs", 3))
    train(this, out=broken, resume=True)
    ends = (load_policy(out / "checkpoints" / "rsrs", layout="packed") for out in (whole, broken))
    one, two = (policy.model.state_dict() for policy in ends)
    assert all(torch.equal(one[name], two[name]) for name in one)
    strip = [{k: v for k, v in row.items() if k not in ("elapsed", "seconds")} for row in rows(whole)]
    assert strip == [{k: v for k, v in row.items() if k not in ("elapsed", "seconds")} for row in rows(broken)]
    assert any(row["loss_policy"] for row in strip if "loss_policy" in row) or any(row.get("imitated") for row in strip)


def test_micro_batches_and_reuse_of_prefixes_give_the_same_update(models, scenes, tmp_path):
    """All at once, image by image, and (nothing before the captions trains) on shared prefixes."""
    results = {}
    for name, more in {
        "whole": [],
        "pieces": ["stages.rsrs.micro_batch=1"],
        "lora": ["model.train_vision=false", "model.lora.r=4"],
        "lora pieces": ["model.train_vision=false", "model.lora.r=4", "stages.rsrs.micro_batch=1"],
    }.items():
        this = recipe(models, scenes, "llava", *more)
        torch.manual_seed(0)
        materials = build_training_setup(this, tmp_path)
        it = Trainer(materials, this.stages[1], 0, ProcessGroup(join(this, materials.policy)))
        it.optimizer.step = lambda: None
        it.optimizer.zero_grad = lambda: None
        row = it.step()
        assert row["groups"]["live"] + row["imitated"] + row["demonstrated"] > 0
        results[name] = {n: p.grad.clone() for n, p in materials.policy.model.named_parameters() if p.grad is not None}
    for one, two in (("whole", "pieces"), ("lora", "lora pieces")):
        assert results[one].keys() == results[two].keys()
        for name, value in results[one].items():
            torch.testing.assert_close(results[two][name], value, rtol=1e-3, atol=1e-6)
    assert any("projector" in name for name in results["whole"])  # what makes the prefix trains too
    assert all("lora" in name for name in results["lora"])


def test_checkpoints_hold_what_trains(models, scenes, tmp_path):
    policy = build_training_setup(
        recipe(models, scenes, "llava", "model.train_vision=false", "model.lora.r=4"), tmp_path
    ).policy
    assert {name.rsplit(".", 3)[1] for name in changing_weights(policy.model) if "lora" in name} == {"lora_A", "lora_B"}
    assert not any("vision_tower" in name and name.endswith("weight") for name in changing_weights(policy.model))


@pytest.mark.parametrize("kind", ["whole", "adapter", "folder"])
def test_the_reference_is_the_policy_when_the_stage_began(models, scenes, tmp_path, kind):
    """Also with an adapter, of the recipe or of the folder it starts from: what the warm-up taught is not penalized."""
    folders, more = models, ["model.lora.r=4"] if kind == "adapter" else []
    if kind == "folder":
        load_policy(models["llava"], lora={"r": 4}, layout="packed").save(tmp_path / "adapter")
        folders = {"llava": tmp_path / "adapter"}
    more += ["stages.warmup.learning_rate=0.01", "stages.rsrs.kl.beta=0.05", "model.train_vision=false"]
    more += ["rewards.length.gate=true"]  # with a gate that is passed, groups are live
    train(recipe(folders, scenes, "llava", *more), out=tmp_path / "run")
    first, *later = [row["kl"] for row in rows(tmp_path / "run") if row.get("kl") is not None]
    assert first == 0
    assert any(later)


def test_adapters_train_in_float32_on_a_bfloat16_model(models):
    said = []
    for lora in ({"r": 4}, None):
        warn_of_half_precision(load_policy(models["llava"], dtype="bfloat16", lora=lora, layout="packed"), said.append)
        assert len(said) == (lora is None)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("data.train_split=tarin", 'there is no split "tarin"'),
        ("stages.warmup.target=meta.expert", "stages.warmup: no caption to imitate"),
        ("rewards.tts.options={speling: 1}", "rewards.tts.options.speling: unknown option. It has: levels, penalty"),
    ],
)
def test_what_is_missing_shows_before_training(models, scenes, tmp_path, override, words):
    with pytest.raises(CapwrightError) as caught:
        build_training_setup(recipe(models, scenes, "llava", override), tmp_path)
    assert words in str(caught.value)
