"""The demo on a small scale: twice in a row, interrupted, and in a folder that is not its own."""

from __future__ import annotations

import json
import os
import sys

import pytest

from capwright.cli._display import program


@pytest.fixture
def small(llava, short):
    control = [word.replace("warmup", "imitation") for word in short if "warmup" in word]
    return [f"model.name={llava}", "data.scenes.n=40", *short, *control, "stages.imitation.eval_every=null"]


def test_demo_twice(cli, small, tmp_path):
    out = tmp_path / "demo"
    first = cli("demo", *small, "--out", out)
    assert first.code == 0, first.err
    for word in ("tts.micro", "tts.tier:never", "base", "warmup", "imitation", "rsrs"):
        assert word in first.out
    for word in (str(out / "report.html"), "your own photos", f"{program()} data check", "loading "):
        assert word in first.err
    assert "docs/guides" not in first.err  # an installed package has none
    summary = json.loads((out / "summary.json").read_text())
    for system in ("base", "warmup", "imitation", "rsrs"):
        found = summary["systems"][system]
        assert {"value", "low", "high", "signature"} < set(found["scores"]["tts.micro"])
        assert found["seconds"] > 0
        assert "tts.tier:frequent" in found["scores"]

    (out / "my notes.txt").write_text("keep me")
    second = cli("demo", *small, "seed=1", "--out", out)
    assert second.code == 0, second.err
    assert "replacing" in second.err
    assert json.loads((out / "summary.json").read_text())["run"]["seed"] == 1
    assert (out / "my notes.txt").read_text() == "keep me"


def test_demo_goes_on(cli, small, tmp_path, monkeypatch):
    out = tmp_path / "demo"
    with monkeypatch.context() as patch:
        stop = lambda *a, **o: (_ for _ in ()).throw(KeyboardInterrupt)  # noqa: E731
        patch.setattr("capwright.runs.pipeline.measure_stages", stop)
        stopped = cli("demo", *small, "--out", out)
    assert stopped.code == 130
    assert "the same command goes on" in stopped.err
    journal = (out / "metrics.jsonl").read_bytes()
    again = cli("demo", *small, "--out", out)
    assert again.code == 0, again.err
    assert "going on with the demo" in again.err
    assert (out / "metrics.jsonl").read_bytes() == journal

    (out / "summary.json").unlink()
    assert "replacing" in cli("demo", *small, "seed=2", "--out", out).err  # not the demo that was interrupted


def test_demo_leaves_other_folders_alone(cli, small, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    said = cli("demo", *small, "--out", tmp_path / "mine")
    assert said.code == 1
    assert "not written by the demo" in said.err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


def test_what_to_type_for_capwright(tmp_path, monkeypatch):
    binaries = tmp_path / "a checkout" / ".venv" / "bin"
    binaries.mkdir(parents=True)
    script = binaries / "capwright"
    monkeypatch.setattr(sys, "executable", str(binaries / "python"))
    monkeypatch.setenv("PATH", os.defpath)
    monkeypatch.chdir(tmp_path / "a checkout")
    assert program() == "capwright"  # no script: nothing better is known
    script.touch(0o755)
    assert program() == ".venv/bin/capwright"
    monkeypatch.chdir(tmp_path / "a checkout" / ".venv" / "bin")
    monkeypatch.setenv("PATH", str(binaries))  # the environment is active
    assert program() == "capwright"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "capwright").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "other"))  # that is another one
    monkeypatch.chdir(tmp_path / "other")
    assert program() == f"'{script}'"
