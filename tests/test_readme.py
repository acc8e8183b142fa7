"""What the README promises runs: its commands, in short variants, in order; and every recipe parses."""

from __future__ import annotations

import gzip
import json
import re
import shlex

import pytest
from typer.testing import CliRunner

import tiny_models
from capwright.cli import app
from capwright.recipes import load_recipe
from places import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [line.split("#")[0].strip() for line in README.splitlines() if line.startswith("capwright ")]
#: Files of captions that the commands name.
FILES = {
    "results.json": "fakecap1000_results.json.gz",
    "captions_val2014.json": "fakecap1000_references.json.gz",
    "base.json": "val2017_nn_results.json.gz",
    "tuned.json": "val2017_nn_results.json.gz",
    "references.json": "val2017_references.json.gz",
}
SHORT = [
    "model.dtype=float32", "model.mixed_precision=no", "model.max_pixels=12544", "model.gradient_checkpointing=false",
    "data.eval_limit=4", "stages.warmup.steps=1", "stages.rsrs.steps=1", "stages.warmup.images_per_step=2",
    "stages.rsrs.images_per_step=2", "stages.rsrs.captions_per_image=2", "stages.rsrs.sampling.max_tokens=8",
    "stages.rsrs.eval_every=null", "evaluation.sampling.max_tokens=8", "evaluation.bootstrap=20",
]  # fmt: skip


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_commands_for_your_own_photos_run_in_order(photo_dataset, tmp_path, monkeypatch):
    """The dataset becomes the 34 test photos, the model a tiny random Qwen2.5-VL, the steps one each."""
    assert len(COMMANDS) >= 5
    tiny = str(tiny_models.write_qwen25vl(tmp_path / "tiny"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toys").symlink_to(photo_dataset)
    for name, packed in FILES.items():
        (tmp_path / name).write_bytes(gzip.decompress((ROOT / "tests/captions" / packed).read_bytes()))
    for line in COMMANDS:
        words = [tiny if word == "Qwen/Qwen2.5-VL-3B-Instruct" else word for word in shlex.split(line)[1:]]
        if words[0] == "train":
            words += [f"model.name={tiny}", *SHORT]
        if words[0] == "caption":
            words += ["--max-tokens", "8"]
        run(*words)
    assert "<html" in (tmp_path / "runs/toys/report.html").read_text(encoding="utf-8")
    assert len((tmp_path / "base.jsonl").read_text(encoding="utf-8").splitlines()) == 6


def test_the_two_make_targets_do_what_the_readme_says(tmp_path):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^demo:.*\n\t.*capwright demo --out runs/demo", makefile, re.MULTILINE)
    assert re.search(r"^test:.*\n(\t.*\n)*\t.*pytest", makefile, re.MULTILINE)
    assert "make test" in (ROOT / ".ci/run").read_text(encoding="utf-8")
    out = tmp_path / "demo"
    short = [
        "data.scenes.n=100", "stages.rsrs.eval_every=null", "stages.imitation.eval_every=null",
        *(f"stages.{name}.steps=2" for name in ("warmup", "imitation", "rsrs")),
        *(f"stages.{name}.images_per_step=4" for name in ("warmup", "imitation", "rsrs")),
    ]  # fmt: skip
    for _ in range(2):
        run("demo", *short, "--out", str(out))
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    for system in ("base", "warmup", "imitation", "rsrs"):
        scores = summary["systems"][system]["scores"]
        assert 0 <= scores["tts.micro"]["value"] <= 100
        assert {"low", "high"} < set(scores["tts.micro"])
        tiers = {f"tts.tier:{tier}" for tier in ("frequent", "common", "occasional", "rare", "never")}
        assert {name for name in scores if "tier" in name} == tiers
        assert summary["systems"][system]["seconds"] > 0
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "RSRS went on from Warm-up, not from Imitation: these are two ways to go." in page


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_parses(path):
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert load_recipe(path.stem) == recipe
