"""A run that is killed at any moment ends, when it is resumed, with the weights of one that never was."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "capwright", *map(str, arguments)]


@pytest.fixture(scope="module")
def whole(llava, short, many_photos, tmp_path_factory):
    """(settings, environment, folder) of a run that nobody disturbed."""
    settings = [
        "rsrs-scenes", f"model.name={llava}", f"data.path={many_photos}", *short,
        "stages.warmup.steps=4", "stages.rsrs.steps=30", "stages.rsrs.checkpoint_every=3", "stages.rsrs.eval_every=10",
        "evaluation.probe_limit=2",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    out = tmp_path_factory.mktemp("kill") / "whole"
    subprocess.run(command("train", *settings, "--out", out), env=environment, check=True, capture_output=True)
    return settings, environment, out


@pytest.mark.parametrize(
    ("how", "after"),
    [(signal.SIGKILL, 2), (signal.SIGKILL, 14), (signal.SIGINT, 10), (signal.SIGTERM, 12)],
    ids=["early", "late", "Ctrl-C", "scheduler"],
)
def test_killed_and_resumed(how, after, whole, tmp_path):
    settings, environment, unbroken = whole
    broken = tmp_path / "broken"
    with subprocess.Popen(
        command("train", *settings, "--out", broken), env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        wait_for_steps(broken / "metrics.jsonl", after)
        process.send_signal(how)
        said = process.stderr.read()
    stopped = how in (signal.SIGINT, signal.SIGTERM)
    assert process.returncode == (130 if stopped else -signal.SIGKILL)
    if stopped:
        assert f"capwright train --resume {broken}" in said
    assert "Traceback" not in said
    assert not (broken / "summary.json").exists()

    subprocess.run(command("train", "--resume", broken), env=environment, check=True, capture_output=True)
    for name in ("checkpoints/rsrs/model.safetensors", "captions/rsrs.jsonl", "captions/base.jsonl"):
        assert (unbroken / name).read_bytes() == (broken / name).read_bytes(), name
    assert steps(unbroken / "metrics.jsonl") == steps(broken / "metrics.jsonl")
    summaries = [json.loads((run / "summary.json").read_text()) for run in (unbroken, broken)]
    assert summaries[0]["systems"]["rsrs"]["scores"] == summaries[1]["systems"]["rsrs"]["scores"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_is_no_training_stops_with_a_word(how, llava, many_photos, tmp_path):
    out = tmp_path / "said.jsonl"
    command_ = command("caption", many_photos, "--model", llava, "--out", out, "--batch-size", 1)
    with subprocess.Popen(command_, stderr=subprocess.PIPE, text=True) as process:
        wait_for_steps(out, 3)
        process.send_signal(how)
        said = process.stderr.read()
    assert process.returncode == 130
    assert said.strip().splitlines()[-1].startswith("stopped")
    assert "Traceback" not in said
    assert all(json.loads(line)["id"] for line in out.open())
    assert not out.with_name(f".{out.name}.lock").exists()


def wait_for_steps(journal, n: int) -> None:
    for _ in range(2000):
        if journal.exists() and journal.read_text().count("\n") >= n:
            return
        time.sleep(0.02)
    raise AssertionError("the run did not get going")


def steps(journal) -> list[dict]:
    timeless = ("seconds", "elapsed")
    rows = [json.loads(line) for line in journal.open()]
    return [{key: value for key, value in row.items() if key not in timeless} for row in rows]
