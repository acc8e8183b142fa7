"""`capwright train --processes 2`: what one process does, and a clear end when a process dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import torch
from safetensors.torch import load_file


@pytest.fixture(scope="module")
def settings(llava, short, many_photos):
    return ["rsrs-scenes", f"model.name={llava}", f"data.path={many_photos}", *short, "rewards.tts.floor=-1"]


def start(launcher: list[str], *arguments: object) -> subprocess.Popen:
    return subprocess.Popen(
        [*launcher, "train", *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )


CAPWRIGHT = [sys.executable, "-m", "capwright"]
ACCELERATE = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "-m", "capwright"]


def test_two_processes_write_what_one_writes(settings, tmp_path):
    """However they are started: by ourselves, or by accelerate."""
    runs = {
        "one": start(CAPWRIGHT, *settings, "--out", tmp_path / "one"),
        "ours": start(CAPWRIGHT, *settings, "--out", tmp_path / "ours", "--processes", 2),
        "theirs": start(ACCELERATE, *settings, "--out", tmp_path / "theirs"),
    }
    for process in runs.values():
        _, said = process.communicate(timeout=200)
        assert process.returncode == 0, said
    one = load_file(tmp_path / "one" / "checkpoints" / "rsrs" / "model.safetensors")
    for name in ("ours", "theirs"):
        other = load_file(tmp_path / name / "checkpoints" / "rsrs" / "model.safetensors")
        for key, value in one.items():
            torch.testing.assert_close(other[key], value, rtol=1e-4, atol=2e-5)
        assert json.loads((tmp_path / name / "summary.json").read_text())["systems"]["rsrs"]["images"] == 4
        assert (tmp_path / name / "report.html").exists()


def test_a_process_that_is_killed_ends_the_run_and_is_named(settings, tmp_path):
    out = tmp_path / "run"
    process = start(CAPWRIGHT, *settings, "stages.rsrs.steps=400", "--out", out, "--processes", 2)
    wait_for_rows(out / "metrics.jsonl", 4)
    psutil.Process(process.pid).children()[1].send_signal(signal.SIGKILL)
    began = time.monotonic()
    _, said = process.communicate(timeout=60)
    assert time.monotonic() - began < 20
    assert process.returncode == 1
    assert "process 2 of 2 was killed by SIGKILL" in said
    assert f"Go on with: capwright train --resume {out} --processes 2" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_launcher_alone_stops_the_run_and_saves_it(how, settings, tmp_path):
    out = tmp_path / "run"
    process = start(CAPWRIGHT, *settings, "stages.rsrs.steps=400", "--out", out, "--processes", 2)
    wait_for_rows(out / "metrics.jsonl", 4)
    process.send_signal(how)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.count("stopped after stage 'rsrs' step") == 1
    assert f"capwright train --resume {out}" in said
    assert "Traceback" not in said
    assert sorted(path.name for path in (out / "checkpoints").glob("state-01-rsrs-*"))


def wait_for_rows(journal, n):
    for _ in range(2000):
        if journal.exists() and journal.read_text().count("\n") > n:
            return
        time.sleep(0.05)
    raise AssertionError("the run did not get going")


def test_what_is_wrong_is_said_before_anything_starts(cli, tmp_path):
    said = cli("train", "rsrs-scenes", "stages.rsrs.stepz=1", "--out", tmp_path / "x", "--processes", 2)
    assert said.code == 1
    assert "stages.rsrs.stepz: unknown key" in said.err
