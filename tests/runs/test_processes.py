"""Two processes that train together: the result of one process, a clear end when one dies, resume on one or two."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from places import HELPERS
from tiny_models import write_llava
from toy_run import VARIANTS

TOY = HELPERS / "toy_run.py"


def start(n: int, out: Path, *arguments: str, script: Path = TOY) -> list[subprocess.Popen]:
    """n processes of one run, as a launcher would start them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(n), "LOCAL_WORLD_SIZE": str(n)}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **(common if n > 1 else {})}
    return [
        subprocess.Popen(
            [sys.executable, script, out, *arguments],
            env=environment | ({"RANK": str(rank), "LOCAL_RANK": str(rank)} if n > 1 else {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(n)
    ]


def finish(processes: list[subprocess.Popen]) -> None:
    for process in processes:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said


def weights(out: Path) -> dict[str, torch.Tensor]:
    folder = out / "checkpoints" / "rsrs"
    table = folder / "table.pt"
    return torch.load(table, weights_only=True) if table.exists() else load_file(*folder.glob("*model.safetensors"))


def rows(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def same(one: Path, two: Path) -> None:
    for name, value in weights(one).items():
        torch.testing.assert_close(weights(two)[name], value, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("variant", ["plain", *(name for name in VARIANTS if name != "tiny")])
def test_two_processes_do_what_one_does(variant, tmp_path):
    runs = {n: start(n, tmp_path / str(n), variant) for n in (1, 2)}
    for processes in runs.values():
        finish(processes)
    same(tmp_path / "1", tmp_path / "2")
    found = [rows(tmp_path / n) for n in "12"]
    assert len(found[0]) == len(found[1])
    decided = ("step", "images_seen", "groups", "buffer", "imitated", "tokens", "truncated", "reward", "lr")
    for one, two in zip(*found):
        assert {key: one.get(key) for key in decided} == {key: two.get(key) for key in decided}
        for key in ("loss", "loss_policy", "kl", "grad_norm"):
            assert (two.get(key) is None) == (one.get(key) is None)
            assert two.get(key) is None or two[key] == pytest.approx(one[key], rel=1e-4, abs=1e-5)
    assert any(row.get("loss_policy") is not None for row in found[0]), "nothing but imitation was compared"


@pytest.mark.parametrize("victim", [0, 1])
def test_when_one_is_killed_the_other_ends_and_the_run_resumes(victim, tmp_path):
    """... on as many processes as there happen to be: here two after the first dies, one after the second."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    undisturbed = start(1, whole, "plain")
    processes = start(2, broken, "dawdle", "plain")
    for line in processes[0].stdout:
        if line.startswith("rsrs 10"):
            break
    processes[victim].send_signal(signal.SIGKILL)
    began = time.monotonic()
    _, said = processes[1 - victim].communicate(timeout=60)
    assert time.monotonic() - began < 20
    assert processes[1 - victim].returncode == 1
    assert f"another process of this run has ended; go on with: capwright train --resume {broken}" in said
    assert "Traceback" not in said
    processes[victim].communicate()
    finish(start(2 - victim, broken, "resume", "plain"))
    finish(undisturbed)
    same(whole, broken)
    steps = [(row["stage"], row["step"]) for row in rows(broken) if row["kind"] == "step"]
    assert steps == [(row["stage"], row["step"]) for row in rows(whole) if row["kind"] == "step"]


def test_too_many_processes_for_a_step(tmp_path):
    processes = start(2, tmp_path / "run", "tiny")
    said = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [1, 1]
    assert "1 images a step are too few for 2 processes" in said[0]


@pytest.mark.parametrize("adapter", [False, True])
def test_sharded_weights_learn_the_same_and_resume(tmp_path, adapter):
    """Two processes with half of the weights each, killed on the way, against one process that has them all."""
    settings = [
        f"model.name={write_llava(tmp_path / 'llava')}", "data.scenes.n=60", "stages.warmup.steps=2",
        "stages.warmup.images_per_step=6", "stages.warmup.micro_batch=null", "stages.rsrs.steps=6",
        "stages.rsrs.kind=rl", "stages.rsrs.on_failed=drop", "stages.rsrs.images_per_step=6",
        "stages.rsrs.captions_per_image=4", "stages.rsrs.sampling.max_tokens=12", "stages.rsrs.micro_batch=1",
        "stages.rsrs.checkpoint_every=2", "stages.rsrs.eval_every=null", "rewards.tts.weight=0",
        "rewards.tts.gate=false", "rewards.short.overlong={of: words, soft: 1, hard: 12}",
    ]  # fmt: skip
    if adapter:
        settings += ["model.lora.r=4", "model.train_vision=false", "stages.rsrs.kl.beta=0.05"]
    script = HELPERS / "sharded_run.py"
    whole = start(1, tmp_path / "one", *settings, script=script)
    finish(whole)
    for process in start(2, tmp_path / "two", "die", *settings, script=script):
        process.communicate(timeout=120)
        assert process.returncode != 0
    finish(start(2, tmp_path / "two", "resume", *settings, script=script))
    same(tmp_path / "one", tmp_path / "two")
    assert any(row.get("loss_policy") is not None for row in rows(tmp_path / "one"))
    gaps = [[row["kl"] for row in rows(tmp_path / name) if row.get("kl") is not None] for name in ("one", "two")]
    assert gaps[0] == pytest.approx(gaps[1], rel=1e-3, abs=1e-8)
    assert bool(gaps[0]) == adapter
