"""`--plugin` and the examples: scored, evaluated, trained with, resumed and reported."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from capwright import plugins
from capwright.data.captions import read_captions
from places import ROOT

EXAMPLES = ROOT / "examples"
REFERENCES = {"1": ["a red drum on a rug"], "2": ["a child with beads"]}
SAID = {"1": "a red drum", "2": "two big dogs"}


@pytest.fixture
def files(tmp_path):
    for name, content in (("said.json", SAID), ("better.json", {**SAID, "2": "a child"}), ("refs.json", REFERENCES)):
        (tmp_path / name).write_text(json.dumps(content))
    return tmp_path


@pytest.fixture
def own(tmp_path):
    """A copy of the example, which a test may change."""
    return Path(shutil.copy(EXAMPLES / "own_scorer.py", tmp_path / "own_scorer.py"))


def test_the_example_scores_and_compares(cli, files):
    example = EXAMPLES / "own_scorer.py"
    said = cli(
        "score", files / "said.json", files / "refs.json", "--plugin", example, "--scorers", "shared-words,length",
        "--json", files / "scores.json",
    )  # fmt: skip
    assert said.code == 0, said.err
    line = next(line for line in said.out.splitlines() if line.strip().startswith("shared-words"))
    assert " 0.5 (" in line, "1 of a red drum, 0 of two big dogs"
    assert "shared-words|function:own_scorer.shared_words|source:" in said.out
    assert "shared-words" in (files / "scores.json").read_text()
    plugins.forget()
    by_path = cli("score", files / "said.json", files / "refs.json", "--scorers", f"{example}:shared_words")
    assert by_path.code == 0, by_path.err
    assert " 0.5 (" in by_path.out
    plugins.forget()
    more = [files / "said.json", files / "better.json", files / "refs.json", "--plugin", example]
    assert "shared-words" in cli("compare", *more, "--scorers", "shared-words").out
    page = files / "page.html"
    assert cli("report", *more, "--scorers", "shared-words", "--out", page).code == 0
    assert "shared-words" in page.read_text()


def test_options_of_a_scorer_by_its_path(cli, files):
    path = files / "own.py"
    path.write_text("def fixed(caption, sample, *, value=1.0):\n    return value\n")
    given = [files / "said.json", files / "refs.json", "--scorers", f"{path}:fixed"]
    said = cli("score", *given, "--set", f"{path}:fixed.value=3")
    assert said.code == 0, said.err
    assert "value:3" in said.out


def test_lists_show_plugins_and_what_is_broken(cli, files, monkeypatch):
    info = files / "site" / "far-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: far\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[capwright.plugins]\nscorer.far-away = no_such_module_at_all:x\n")
    monkeypatch.syspath_prepend(files / "site")
    plugins.forget()
    path = files / "own.py"
    path.write_text("from capwright.plugins import register\n@register('scorer', 'by-hand')\nclass Broken: ...\n")
    said = cli("score", "list", "--plugin", EXAMPLES / "own_scorer.py", "--plugin", path)
    assert said.code == 0, said.err
    assert "shared-words" in said.out
    assert "by-hand" in said.out
    assert "makes Broken, which is no scorer" in " ".join(said.out.split())
    assert "far-away" in said.out
    broken = cli("score", files / "said.json", files / "refs.json", "--scorers", "far-away")
    assert broken.code == 1
    assert "error: far-away: the scorer of the installed package far cannot be loaded: ModuleNotFound" in broken.err
    assert cli("score", files / "said.json", files / "refs.json", "--scorers", "length").code == 0


def test_what_is_wrong_with_a_plugin_is_said_before_anything_starts(cli, files):
    (files / "own.py").write_text("x = 1\nx.y.z\n")
    for arguments in (
        ["score", files / "said.json", files / "refs.json"],
        ["train", "demo", "--out", files / "run"],
        ["data", "check", files],
        ["score", "list"],
    ):
        said = cli(*arguments, "--plugin", files / "own.py")
        assert said.code == 1
        assert "own.py cannot be loaded: AttributeError: 'int' object has no attribute 'y' (own.py, line 2)" in said.err
    assert not (files / "run").exists()
    taken = "from capwright.plugins import register\n\nregister('scorer', 'bleu')(print)\n"
    (files / "own.py").write_text(taken)
    said = cli("score", files / "said.json", files / "refs.json", "--plugin", files / "own.py")
    assert said.code == 1
    assert "bleu: a scorer with this name exists (built in); the one of" in said.err


def test_an_advantage_that_fails_is_said_before_anything_is_trained(cli, recipe, tmp_path):
    (tmp_path / "own_advantage.py").write_text(
        "from capwright.plugins import register\nregister('advantage', 'ranks')(lambda rewards, weights: None)\n"
    )
    for more in (["--dry-run"], []):
        plugins.forget()
        said = cli("train", recipe, "--out", tmp_path / "run", *more)
        assert said.code == 1
        assert "advantage ranks: failed: TypeError" in said.err
    assert not (tmp_path / "run" / "checkpoints").exists()


SHORT = {"sampling": {"max_tokens": 6}, "checkpoint_every": 1, "images_per_step": 3}


@pytest.fixture
def recipe(own, tmp_path):
    """Two steps on a tiny kindergarten, with the example as reward and as ruler, and the advantage of the other one."""
    shutil.copy(EXAMPLES / "own_advantage.py", tmp_path)
    stage = {"name": "rl", "kind": "grpo", "steps": 2, "captions_per_image": 3, "advantage": "ranks", **SHORT}
    keys = {
        "name": "own",
        "plugins": ["own_scorer.py", "own_advantage.py"],
        "data": {"scenes": {"n": 40, "seed": 1, "size": 96}, "eval_split": "test"},
        "rewards": {"shared-words": {"range": [0, 1], "gate": False}},
        "stages": [stage],
        "evaluation": {"scorers": ["shared-words", "length"], "sampling": {"temperature": 0.0, "max_tokens": 6}},
    }
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(keys))
    return path


def test_a_run_remembers_its_plugins(cli, recipe, own, tmp_path, monkeypatch):
    run = tmp_path / "run"

    def step(trainer, real=[]):  # noqa: B006
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        from capwright.training.trainer import Trainer

        real = Trainer.step
        patch.setattr(Trainer, "step", lambda it: real(it) if it.counts["done"] == 0 else step(it))
        assert cli("train", recipe, "--out", run).code == 130
    assert len(rows(run)) == 1
    plugins.forget()
    done = cli("train", "--resume", run)
    assert done.code == 0, done.err
    assert [row["step"] for row in rows(run)] == [1, 2]
    assert all(0 < row["reward"]["shared-words"] < 1 for row in rows(run))
    summary = json.loads((run / "summary.json").read_text())
    assert 0 < summary["systems"]["rl"]["scores"]["shared-words"]["value"] <= 1
    assert summary["run"]["trained_on"]["shared-words"].startswith("shared-words|function:own_scorer.shared_words|")
    saved = yaml.safe_load((run / "recipe.yaml").read_text())["plugins"]
    assert [one["path"] for one in saved] == [str(tmp_path / name) for name in ("own_scorer.py", "own_advantage.py")]

    plugins.forget()
    (run / "report.html").unlink()
    said = cli("report", run)
    assert said.code == 0, said.err
    assert "warning" not in said.err
    assert plugins.names("scorer") == (), "a page is made of numbers: nothing that a run folder names is executed"
    assert "shared-words" in (run / "report.html").read_text()

    with open(own, "a") as file:
        file.write("open(__file__ + '.executed', 'w')\n")
    executed = tmp_path / "own_scorer.py.executed"
    said = cli("report", run)
    assert said.code == 0
    assert f"warning: {own}: has changed" in said.err
    refused = cli("train", "--resume", run)
    assert refused.code == 1
    assert f"{own}: the plugin has changed" in refused.err
    assert f"take it as it is now with --plugin {own}" in refused.err
    assert not executed.exists()
    refused = cli("train", "--resume", run, "--plugin", own)
    assert refused.code == 1
    assert f"the recipe changed since this run began:\n  plugins: {own}:" in refused.err
    assert "Start anew" in refused.err
    assert executed.exists()
    assert read_captions(run / "captions/rl.jsonl"), "what is refused touches nothing"


def test_a_file_that_moved_is_found_also_where_its_place_is_the_name(cli, recipe, own, tmp_path):
    keys = yaml.safe_load(recipe.read_text())
    keys |= {
        "plugins": ["own_advantage.py"],
        "rewards": {"own_scorer.py:shared_words": {"range": [0, 1], "gate": False}},
    }
    keys["evaluation"]["scorers"] = ["own_scorer.py:shared_words"]
    recipe.write_text(yaml.safe_dump(keys))
    run = tmp_path / "run"
    assert cli("train", recipe, "--out", run).code == 0
    moved = own.rename(tmp_path / "moved.py")
    plugins.forget()
    assert "own_scorer.py: the plugin cannot be read" in cli("train", "--resume", run).err
    for _ in range(2):
        plugins.forget()
        said = cli("train", "--resume", run, "--plugin", moved)
        assert said.code == 0, said.err


def rows(run):
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row for row in found if row["kind"] == "step"]


def signature(run):
    return json.loads((run / "summary.json").read_text())["systems"]["rl"]["scores"]["shared-words"]["signature"]


def test_a_ruler_may_change_and_be_added_when_a_run_is_measured_anew(cli, recipe, own, tmp_path):
    run = tmp_path / "run"
    settings = ["stages.rl.steps=1", "rewards={length: {range: [0, 60], gate: false}}", "plugins=[]"]
    settings += ["stages.rl.advantage=grpo", "evaluation.scorers=[length]"]
    assert cli("train", recipe, *settings, "--out", run).code == 0
    plugins.forget()
    said = cli("train", "--resume", run, "--plugin", own, "evaluation.scorers=[length,shared-words]")
    assert said.code == 0, said.err
    first = signature(run)
    own.write_text(own.read_text().replace("max(1, len(words))", "max(2, len(words))"))
    plugins.forget()
    assert cli("train", "--resume", run).code == 1
    plugins.forget()
    said = cli("train", "--resume", run, "--plugin", own)
    assert said.code == 0, said.err
    assert signature(run) != first
    plugins.forget()
    assert cli("train", "--resume", run).code == 0


def test_all_processes_are_given_the_plugins(cli, recipe, own, tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr("capwright.runs.launch.run_in_processes", lambda n, words, out: given.append(words) or 0)
    cli("train", recipe, "--plugin", own, "--out", tmp_path / "run", "--processes", 2)
    assert given == [["train", str(recipe), "--out", str(tmp_path / "run"), "--plugin", str(own)]]


def test_a_dry_run_and_eval(cli, recipe, tmp_path):
    said = cli("train", recipe, "--out", tmp_path / "run", "--dry-run")
    assert said.code == 0, said.err
    assert "rl: 2 steps" in said.out
    scenes = next((tmp_path / "run").glob("scenes-*"))
    captions = tmp_path / "said.jsonl"
    assert cli("caption", scenes, "--split", "test", "--model", "embedded", "--out", captions, "--n", 2).code == 0
    plugins.forget()
    said = cli("eval", scenes, captions, "--plugin", EXAMPLES / "own_scorer.py", "--scorers", "shared-words")
    assert said.code == 0, said.err
    assert "shared-words" in said.out


def test_a_dataset_in_a_format_of_ones_own(cli, tmp_path, photo_dataset):
    """It is checked, converted, and read as references."""
    path = tmp_path / "rows.py"
    path.write_text(
        "import json\nfrom capwright.plugins import register\n"
        "@register('format', 'rows')\ndef read(path):\n    return json.loads(path.read_text())\n"
    )
    lines = [json.loads(line) for line in (photo_dataset / "samples.jsonl").read_text().splitlines()]
    data = photo_dataset / "photos.rows"
    data.write_text(json.dumps(lines))
    (photo_dataset / "samples.jsonl").unlink()
    checked = cli("data", "check", data, "--plugin", path)
    assert checked.code == 0, checked.out
    assert cli("data", "convert", data, tmp_path / "copy", "--plugin", path).code == 0
    said = tmp_path / "said.json"
    said.write_text(json.dumps({row["id"]: row["references"][0] for row in lines}))
    plugins.forget()
    scored = cli("score", said, data, "--plugin", path, "--scorers", "length")
    assert scored.code == 0, scored.err
    plugins.forget()
    assert "is not a dataset" in cli("data", "check", data).out


def test_captions_by_a_captioner_and_a_strategy_of_ones_own(cli, tmp_path, photo_dataset):
    """Rows say what the captioner says of itself, and the strategy only where there is one; the command goes on."""
    own = tmp_path / "own.py"
    own.write_text(
        "from capwright import Caption\nfrom capwright.plugins import register\n"
        "@register('captioner', 'says')\nclass Says:\n    description = {'model': 'says-1'}\n"
        "    def __init__(self, **options): pass\n"
        "    def caption(self, requests, params, n=1):\n"
        "        return [[Caption('a photo ' + params.strategy)] * n for request in requests]\n"
        "@register('decoding', 'calm')\nclass Calm:\n    policy_logprobs = False\n"
        "    def prompts(self, prefixes, encode): return [prefixes]\n"
        "    def combine(self, logits, step): return logits[0].where(logits[0].isinf(), -logits[0])\n"
    )
    out = tmp_path / "said.jsonl"
    common = ["caption", photo_dataset, "--split", "val"]
    for name, n in (("says", 2), (f"{own}:Says", 3)):
        said = cli(*common, "--model", name, "--n", n, "--plugin", own, "--out", out)
        assert said.code == 0, said.err
    said = list(read_captions(out).values())
    assert [(row["model"], row["caption"], "strategy" in row) for row in said] == [("says-1", "a photo ", False)] * 3
    refused = cli(*common, "--model", "says", "--strategy", "calm", "--plugin", own, "--out", out)
    assert refused.code == 1
    assert "holds captions made with strategy '', not 'calm'" in refused.err
    captions = {}
    for strategy in ("", "calm"):
        path = tmp_path / f"{strategy}.jsonl"
        given = ["--model", "embedded", "--n", 2, "--max-tokens", 4, "--plugin", own, "--out", path]
        assert cli(*common, *given, *(["--strategy", strategy] if strategy else [])).code == 0
        captions[strategy] = list(read_captions(path).values())
    assert [row.get("strategy") for row in captions["calm"] + captions[""]] == ["calm", "calm", None, None]
    assert captions["calm"][0]["caption"] != captions[""][0]["caption"]
    wrong = cli(*common, "--model", "embedded", "--strategy", "clam", "--plugin", own, "--out", tmp_path / "x.jsonl")
    assert wrong.code == 1
    assert "there is no decoding 'clam'; did you mean 'calm'?" in wrong.err


def test_a_curation_step_of_ones_own(cli, tmp_path, photo_dataset):
    """By `--plugin`, by `plugins:` of the recipe, and by its place; a file with another digest is not executed."""
    (tmp_path / "own.py").write_text(
        "from capwright.curation import Step, StepDecision\nfrom capwright.plugins import register\n"
        "@register('step', 'first')\nclass First(Step):\n    name = 'first'\n    n: int = 2\n    chunk = None\n"
        "    def decide(self, samples):\n"
        "        return [StepDecision(drop='' if i < self.n else 'later') for i in range(len(samples))]\n"
    )
    path = tmp_path / "mine.yaml"
    keys = {"name": "mine", "data": {"path": str(photo_dataset), "split": "val"}, "out": "unused"}
    cases = [
        ({"steps": [{"name": "first"}]}, ["--plugin", tmp_path / "own.py"]),
        ({"steps": [{"name": "first"}], "plugins": ["own.py"]}, []),
        ({"steps": [{"name": "own.py:First"}]}, []),
    ]
    for number, (more, given) in enumerate(cases):
        path.write_text(yaml.safe_dump(keys | more))
        plugins.forget()
        said = cli("curate", path, "--out", tmp_path / f"out{number}", "steps.0.n=3", *given)
        assert said.code == 0, said.err
        assert "first: 3 of 6 samples went on" in said.out
    plugins.forget()
    assert "there is no step 'first'" in cli("curate", path, "steps.0.name=first").err
    path.write_text(
        yaml.safe_dump(keys | {"steps": [{"name": "first"}], "plugins": [{"path": "own.py", "sha256": "0"}]})
    )
    refused = cli("curate", path)
    assert refused.code == 1
    assert "own.py: the plugin has changed" in refused.err
