"""Going on with other settings: captions of the old ones do not stay, and what is refused touches nothing."""

from __future__ import annotations

import json
import shutil

import pytest

from capwright import read_captions
from capwright.recipes import load_recipe


@pytest.fixture
def settings(llava, photo_dataset, short):
    return [f"model.name={llava}", f"data.path={photo_dataset}", "data.eval_limit=2", *short]


def stop(*arguments, **options):
    raise KeyboardInterrupt


def files(run):
    """All of a run, but for what reading cannot change."""
    return {path.relative_to(run): path.read_bytes() for path in run.rglob("*") if path.is_file()}


@pytest.fixture
def begun(cli, settings, tmp_path, monkeypatch):
    """A run that was stopped when its base captions were there and no checkpoint yet."""
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("capwright.runs.train_loop.TrainingRun._save", stop)
        assert cli("train", "rsrs-scenes", *settings, "--out", run).code != 0
    assert len(read_captions(run / "captions/base.jsonl")) == 2
    assert not list((run / "checkpoints").glob("state-*"))
    return run


def test_other_keys_are_refused_before_there_is_a_checkpoint(cli, begun, monkeypatch):
    before = files(begun)
    said = cli("train", "--resume", begun, "seed=5", "model.prompt=What is it?", "evaluation.sampling.max_tokens=4")
    assert said.code == 1
    for word in ("recipe changed", "seed: 0 -> 5", "model.prompt:", "What is it?"):
        assert word in said.err
    assert "evaluation" not in said.err  # may change
    assert files(begun) == before


def test_captions_of_another_dataset_do_not_stay(cli, begun, photo_dataset, tmp_path, monkeypatch):
    moved = photo_dataset.rename(tmp_path / "others")
    monkeypatch.setattr("capwright.runs.train", stop)
    cli("train", "--resume", begun, f"data.path={moved}")
    assert not (begun / "captions/base.jsonl").exists()
    assert load_recipe(begun / "recipe.yaml").data.path == str(moved)


def test_a_refused_resume_touches_nothing(cli, settings, photo_dataset, tmp_path):
    run = tmp_path / "run"
    assert cli("train", "rsrs-scenes", *settings, "--out", run).code == 0
    before = files(run)
    for more in (["seed=5"], ["stages.rsrs.steps=3"], ["model.device=tpu"]):
        assert cli("train", "--resume", run, "evaluation.sampling.max_tokens=4", *more).code == 1, more
        assert files(run) == before, more
    rows = (photo_dataset / "samples.jsonl").read_text().splitlines()
    (photo_dataset / "samples.jsonl").write_text("\n".join(rows[1:]) + "\n")
    said = cli("train", "--resume", run, "evaluation.sampling.max_tokens=4")
    assert said.code == 1
    assert "the dataset has changed" in said.err
    assert files(run) == before
    state = sorted((run / "checkpoints").glob("state-*"))[-1]
    (state / "state.json").write_text("{")
    assert f"{state}: is damaged" in cli("train", "--resume", run).err


def test_interrupted_after_captions_were_forgotten(cli, settings, tmp_path, monkeypatch):
    """The recipe goes with the captions: who goes on without saying the settings again gets captions of one kind."""
    run = tmp_path / "run"
    assert cli("train", "rsrs-scenes", *settings, "--out", run).code == 0
    with monkeypatch.context() as patch:
        patch.setattr("capwright.runs.train", stop)
        assert cli("train", "--resume", run, "evaluation.sampling.max_tokens=4").code == 130
    assert not list((run / "captions").iterdir())
    assert load_recipe(run / "recipe.yaml").evaluation.sampling.max_tokens == 4
    with monkeypatch.context() as patch:
        patch.setattr("capwright.runs.pipeline.measure_stages", stop)
        assert cli("train", "--resume", run).code == 130
    done = cli("train", "--resume", run)
    assert done.code == 0, done.err
    words = json.loads((run / "summary.json").read_text())["systems"]["rsrs"]["scores"]["length.words"]["value"]
    assert words <= 4


def test_a_run_that_can_read_no_image_stops_and_reports_nothing(cli, llava, many_photos, short, tmp_path):
    data = tmp_path / "photos"
    shutil.copytree(many_photos, data)
    for image in (data / "images").iterdir():
        image.write_bytes(b"not an image")
    out = tmp_path / "run"
    said = cli("train", "rsrs-scenes", f"model.name={llava}", f"data.path={data}", *short, "--out", out)
    assert said.code == 1
    assert (
        "stage 'warmup': none of 8 images could be used, so nothing is learned; run `capwright data check`" in said.err
    )
    assert not (out / "summary.json").exists()
    assert not (out / "report.html").exists()
