"""The configurations in configs/ say to accelerate what their comments say to people."""

from __future__ import annotations

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import FullyShardedDataParallelPlugin
from accelerate.utils.launch import prepare_multi_gpu_env

from capwright.models import load_policy
from capwright.training.distributed import Learner
from places import ROOT
from tiny_models import write_llava, write_qwen25vl

CONFIGS = ROOT / "configs"


def launched(name: str):
    """The arguments of `accelerate launch --config_file configs/NAME`, as it goes on with them."""
    given = launch_command_parser().parse_args(["--config_file", str(CONFIGS / name), "-m", "capwright"])
    return _validate_launch_command(given)[0]


@pytest.mark.parametrize("path", sorted(CONFIGS.iterdir()), ids=lambda path: path.name)
def test_accelerate_knows_every_key(path):
    """It refuses unknown keys at the top itself; those of a group it would leave unread."""
    config = load_config_from_file(str(path))
    known = {action.dest for action in launch_command_parser()._actions}
    assert set(config.fsdp_config) | set(config.deepspeed_config) <= known


@pytest.mark.parametrize(
    ("write", "layers"),
    [
        (write_qwen25vl, {"Qwen2_5_VLDecoderLayer", "Qwen2_5_VLVisionBlock"}),
        (write_llava, {"CLIPEncoderLayer", "LlamaDecoderLayer"}),
    ],
)
def test_fsdp2_cuts_up_the_layers_of_the_model(write, layers, monkeypatch, tmp_path):
    arguments = launched("fsdp2.yaml")
    assert (arguments.use_fsdp, arguments.num_processes, arguments.mixed_precision) == (True, 2, "no")
    for key, value in prepare_multi_gpu_env(arguments).items():
        if key.startswith("FSDP_"):
            monkeypatch.setenv(key, value)
    plugin = FullyShardedDataParallelPlugin()
    assert (plugin.fsdp_version, plugin.reshard_after_forward, plugin.cpu_ram_efficient_loading) == (2, True, False)
    plugin.set_auto_wrap_policy(Learner(load_policy(write(tmp_path / "model")).model))
    assert {layer.__name__ for layer in plugin.auto_wrap_policy.keywords["transformer_layer_cls"]} >= layers


@pytest.mark.parametrize("stage", [2, 3])
def test_deepspeed_gets_its_stage(stage):
    arguments = launched(f"deepspeed_zero{stage}.yaml")
    assert (arguments.use_deepspeed, arguments.zero_stage, arguments.mixed_precision) == (True, stage, "bf16")
