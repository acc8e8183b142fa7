"""The main job on real photos: data check -> train -> caption -> eval -> report."""

from __future__ import annotations

import json
import shutil

import pytest

from capwright import open_dataset, read_captions


@pytest.mark.parametrize(("family", "recipe"), [("llava", "rsrs-scenes"), ("qwen", "rsrs-qwen2.5-vl-3b-lora")])
def test_the_whole_chain_on_photos(family, recipe, cli, short, request, photo_dataset, tmp_path):
    model, run = request.getfixturevalue(family), tmp_path / "run"
    assert cli("data", "check", photo_dataset).code == 0

    settings = [f"model.name={model}", f"data.path={photo_dataset}", *short]
    if family == "qwen":
        settings += ["model.dtype=float32", "model.mixed_precision=no", "model.lora.r=4", "model.max_pixels=10000"]
    trained = cli("train", recipe, *settings, "--out", run)
    assert trained.code == 0, trained.err
    assert "tts.micro" in trained.out
    for name in ("recipe.yaml", "metrics.jsonl", "summary.json", "report.html", "checkpoints/rsrs"):
        assert (run / name).exists(), name

    summary = json.loads((run / "summary.json").read_text())
    for system in ("base", "warmup", "rsrs"):
        found = summary["systems"][system]
        assert {"value", "low", "high", "signature"} < set(found["scores"]["tts.micro"])
        assert found["images"] == 6
        assert found["unknown"] == {}
        assert found["seconds"] > 0
        rows = read_captions(run / "captions" / f"{system}.jsonl")
        assert list(rows) == [sample.id for sample in open_dataset(photo_dataset, "val")]
    pairs = [(c["a"], c["b"]) for c in summary["comparisons"] if c["score"] == "tts.micro"]
    assert pairs == [("base", "warmup"), ("warmup", "rsrs"), ("base", "rsrs")]
    about = summary["run"]
    assert about["recipe"] == recipe
    assert about["images_seen"] == {"warmup": 8, "rsrs": 16}
    assert about["trained_on"]["tts"].startswith("tts|")
    assert {"capwright", "torch", "transformers"} <= set(summary["versions"])
    probes = [json.loads(line) for line in (run / "metrics.jsonl").open() if '"eval"' in line]
    assert [(p["stage"], p["step"]) for p in probes] == [("rsrs", 2)]
    assert "tts.micro" in probes[0]["scores"]

    said = tmp_path / "test.jsonl"
    captioned = cli(
        "caption", photo_dataset, "--split", "test", "--model", run / "checkpoints" / "rsrs", "--out", said,
        "--max-tokens", 8,
    )  # fmt: skip
    assert captioned.code == 0, captioned.err
    assert len(read_captions(said)) == 6

    measured = cli("eval", photo_dataset, said, "--out", tmp_path / "eval", "--json", tmp_path / "eval.json")
    assert measured.code == 0, measured.err
    assert "6 samples of test" in measured.err
    assert json.loads((tmp_path / "eval.json").read_text())["systems"]["test"]["images"] == 6
    assert "</html>" in (tmp_path / "eval" / "report.html").read_text()

    page = (run / "report.html").read_text()
    (run / "report.html").unlink()
    assert cli("report", run).code == 0
    assert (run / "report.html").read_text() == page


def test_scenes_by_tier_and_a_moved_run(cli, short, llava, tmp_path):
    settings = [f"model.name={llava}", "data.scenes.n=60", *short]
    done = cli("train", "rsrs-scenes", *settings, "--out", tmp_path / "run")
    assert done.code == 0, done.err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert "tts.tier:never" in summary["systems"]["rsrs"]["scores"]
    assert summary["run"]["data"] == "scenes-60-1-96"
    assert "teaching toys" in (tmp_path / "run" / "report.html").read_text()

    page = (tmp_path / "run" / "report.html").read_text()
    shutil.move(tmp_path / "run", tmp_path / "elsewhere")
    assert cli("report", tmp_path / "elsewhere").code == 0
    assert (tmp_path / "elsewhere" / "report.html").read_text() == page

    (tmp_path / "elsewhere" / "summary.json").unlink()  # as in a run that is not finished
    assert cli("report", tmp_path / "elsewhere", "--out", tmp_path / "page.html").code == 0
    assert "data:image" in (tmp_path / "page.html").read_text()


def test_a_finished_run_can_be_measured_anew(cli, short, llava, photo_dataset, tmp_path):
    run = tmp_path / "run"
    settings = [f"model.name={llava}", f"data.path={photo_dataset}", *short]
    assert cli("train", "rsrs-scenes", *settings, "data.eval_limit=2", "--out", run).code == 0
    before = {name: (run / name).read_bytes() for name in ("captions/rsrs.jsonl", "metrics.jsonl")}

    again = cli("train", "--resume", run)
    assert again.code == 0, again.err
    assert {name: (run / name).read_bytes() for name in before} == before

    more = cli("train", "--resume", run, "data.eval_limit=4")
    assert more.code == 0, more.err
    assert json.loads((run / "summary.json").read_text())["systems"]["base"]["images"] == 4
    assert (run / "captions/rsrs.jsonl").read_bytes().startswith(before["captions/rsrs.jsonl"])

    longer = cli("train", "--resume", run, "evaluation.sampling.max_tokens=4")
    assert longer.code == 0, longer.err
    assert len(read_captions(run / "captions/rsrs.jsonl")) == 4
    assert not (run / "captions/rsrs.jsonl").read_bytes().startswith(before["captions/rsrs.jsonl"])

    other = cli("train", "--resume", run, "seed=5")
    assert other.code == 1
    assert "seed: 0 -> 5" in other.err
