"""Whole runs: what is written, and what survives interruption, a full disk and changed minds."""

from __future__ import annotations

import copy
import errno
import json
import os
import random
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from capwright.recipes import load_recipe, parse_recipe
from capwright.runs import PlainProgress, Progress, Stopped, train
from capwright.runs import setup as gathering
from capwright.runs import train_loop as whole_run
from capwright.runs.checkpoint import random_state, restore_random_state, seed_everything, states
from capwright.runs.metrics_log import MetricsLog
from capwright.runs.progress import LiveProgress
from capwright.types import DataError, ImageError, RecipeError, RunError
from interruptions import KillAt, Killed
from places import HELPERS
from toy_captioner import says
from toy_run import RECIPE, materials, run, variant

SCRIPT = HELPERS / "toy_run.py"


def final(out: Path) -> dict[str, torch.Tensor]:
    return torch.load(out / "checkpoints" / "rsrs" / "table.pt", weights_only=True)


def rows(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def timeless(out: Path) -> list[dict]:
    return [{k: v for k, v in row.items() if k not in ("elapsed", "seconds")} for row in rows(out)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """An uninterrupted run."""
    out = tmp_path_factory.mktemp("whole") / "run"
    run(out)
    return out


def same(out: Path, whole: Path) -> bool:
    a, b = final(out), final(whole)
    return all(torch.equal(a[name], b[name]) for name in b)


def test_what_a_run_writes(whole):
    found = rows(whole)
    steps = [(row["stage"], row["step"]) for row in found if row["kind"] == "step"]
    assert steps == [("warmup", i) for i in range(1, 9)] + [("rsrs", i) for i in range(1, 31)]
    assert [row["step"] for row in found if row["kind"] == "eval"] == [10, 20, 30]
    assert found[-1]["images_seen"] == 8 * 4 + 30 * 6
    assert {"reward", "spread", "groups", "buffer", "imitated", "loss", "lr", "seconds", "elapsed"} <= set(found[-2])
    assert parse_recipe(RECIPE) == load_recipe(whole / "recipe.yaml")
    assert len(states(whole / "checkpoints")) == 2
    assert not list((whole / "checkpoints").glob(".*"))


def test_results_and_callbacks(tmp_path):
    seen = []
    results = run(tmp_path / "run", after_stage=lambda policy, stage: seen.append(stage))
    assert seen == ["base", "warmup", "rsrs"]
    assert [(r.name, r.kind, r.steps, r.images_seen) for r in results] == [
        ("warmup", "sft", 8, 32),
        ("rsrs", "rsrs", 30, 212),
    ]
    assert results[1].path == tmp_path / "run" / "checkpoints" / "rsrs"
    assert results[1].imitated > 0
    again = run(tmp_path / "run", resume=True, after_stage=lambda policy, stage: seen.append(stage))
    assert again == results
    assert len(seen) == 3


def test_probes_do_not_disturb_training(whole, tmp_path):
    def probe(policy, stage, step):
        torch.rand(3), np.random.rand(), random.random()  # noqa: NPY002
        return {}

    run(tmp_path / "run", probe=probe, after_stage=lambda policy, stage: torch.rand(5))
    assert same(tmp_path / "run", whole)


@pytest.mark.parametrize("stop_at", [("warmup", 2), ("warmup", 8), ("rsrs", 1), ("rsrs", 7), ("rsrs", 29)])
def test_interrupted_and_resumed_is_bit_for_bit_the_same(whole, tmp_path, stop_at):
    """Errors in a step are not saved: the run goes back to the last checkpoint and repeats."""
    given = materials()
    honest = given.policy.logprobs
    out = tmp_path / "run"

    assert honest
    with pytest.raises(Killed):
        run(out, materials=given, progress=KillAt(*stop_at))
    run(out, resume=True)
    assert same(out, whole)
    assert timeless(out) == timeless(whole)


@pytest.mark.parametrize("after", ["base", "warmup", "rsrs"])
def test_killed_between_stages(whole, tmp_path, after):
    def fail(policy, stage):
        if stage == after:
            raise KeyboardInterrupt

    with pytest.raises(Stopped, match="stopped at once"):
        run(tmp_path / "run", after_stage=fail)
    seen = []
    run(tmp_path / "run", resume=True, after_stage=lambda policy, stage: seen.append(stage))
    assert seen == ["base", "warmup", "rsrs"][["base", "warmup", "rsrs"].index(after) :]
    assert same(tmp_path / "run", whole)
    assert timeless(tmp_path / "run") == timeless(whole)


def start(out: Path, *words: str) -> subprocess.Popen:
    command = [sys.executable, str(SCRIPT), str(out), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(process: subprocess.Popen, line: str) -> None:
    assert process.stdout is not None
    for text in process.stdout:
        if text.strip() == line:
            return
    raise AssertionError(f"never said {line}: {process.stderr.read() if process.stderr else ''}")


def test_sigkill_and_resume(whole, tmp_path):
    """Killed twice at arbitrary moments by the operating system, then finished by another process."""
    out = tmp_path / "run"
    for line, words in (("rsrs 3", ("dawdle",)), ("rsrs 18", ("dawdle", "resume"))):
        process = start(out, *words)
        wait_for(process, line)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (out / "checkpoints" / "rsrs").exists()
    process = start(out, "resume")
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert same(out, whole)
    assert timeless(out) == timeless(whole)


def test_sigint_finishes_the_step_and_says_how_to_go_on(whole, tmp_path):
    out = tmp_path / "run"
    process = start(out, "dawdle")
    wait_for(process, "rsrs 6")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 1
    assert "stopped after stage 'rsrs' step" in errors
    assert f"capwright train --resume {out}" in errors
    assert "Traceback" not in errors
    run(out, resume=True)
    assert same(out, whole)


def test_stopped_is_raised_in_process(tmp_path):
    class Stop:
        def say(self, text): ...
        def start(self, stage, steps, done): ...
        def close(self): ...
        def step(self, row):
            if row["step"] == 5:
                os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Stopped, match="step [56]"):
        run(tmp_path / "run", progress=Stop())
    assert signal.getsignal(signal.SIGINT) is before


def test_full_disk(whole, tmp_path, monkeypatch):
    """The write of a checkpoint fails in the middle; the one before is whole and the run can go on from it."""
    out = tmp_path / "run"
    honest = torch.save

    def full(state, file):
        if state.get("trainer", {}).get("counts", {}).get("done") == 12:
            file.write(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        honest(state, file)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(RunError, match=r"disk full; the last good checkpoint is .*state-01-rsrs-000008"):
        run(out)
    monkeypatch.undo()
    assert not list((out / "checkpoints").glob(".*"))
    run(out, resume=True)
    assert same(out, whole)


def test_full_disk_under_torch(tmp_path, monkeypatch):
    """torch wraps an error of the disk into one of its own."""
    honest = open

    class Full:
        def __init__(self, file):
            self.file = file

        def __getattr__(self, name):
            return getattr(self.file, name)

        def write(self, data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

    def fake(self, mode="r", *rest, **named):
        file = honest(self, mode, *rest, **named)
        return Full(file) if self.name == "state.pt" and mode == "wb" else file

    monkeypatch.setattr(Path, "open", fake)
    with pytest.raises(RunError, match="disk full; there is no earlier checkpoint"):
        run(tmp_path / "run")


def test_no_permission(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="file.*cannot be written"):
        run(tmp_path / "file" / "run")


def test_a_folder_with_a_run_is_not_overwritten(whole):
    with pytest.raises(RunError, match="already holds a run: go on with --resume"):
        run(whole)


def test_resume_without_a_checkpoint_starts_from_the_beginning(whole, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").write_text('{"kind": "step"}\n')
    run(tmp_path / "run", resume=True)
    assert timeless(tmp_path / "run") == timeless(whole)


def test_resume_with_a_changed_recipe(whole):
    recipe = load_recipe(whole / "recipe.yaml", ["stages.rsrs.learning_rate=0.1", "seed=3"])
    with pytest.raises(RunError) as caught:
        train(recipe, out=whole, resume=True, materials=materials())
    assert "stages.rsrs.learning_rate: 0.05 -> 0.1" in str(caught.value)
    assert "seed: 0 -> 3" in str(caught.value)
    free = load_recipe(whole / "recipe.yaml", ["stages.rsrs.eval_every=7", "evaluation.probe_limit=3", "name=other"])
    train(free, out=whole, resume=True, materials=materials())


def test_what_a_failure_asks_for_may_change_on_resume(whole):
    """Less memory, or more time for a judge, needs no new run."""
    changes = [f"stages.rsrs.{name}" for name in ("micro_batch=1", "micro_tokens=99", "rollout_batch=2")]
    changes += ["stages.rsrs.max_failures=0.9", "rewards.tts.timeout=60", "model.gradient_checkpointing=true"]
    train(load_recipe(whole / "recipe.yaml", changes), out=whole, resume=True, materials=materials())


def test_a_state_of_more_gpus_than_there_are_now(monkeypatch):
    given, told = random_state() | {"cuda": ["first", "second"]}, []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", told.extend)
    restore_random_state(given)
    assert told == ["first"]


def test_resume_with_changed_data(whole):
    with pytest.raises(RunError, match="the dataset has changed"):
        run(whole, resume=True, materials=materials(fingerprint="other"))


def test_a_checkpoint_that_can_not_be_read(tmp_path):
    run(tmp_path / "run")
    last = states(tmp_path / "run" / "checkpoints")[-1]
    (last / "state.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(RunError, match="is damaged; remove this folder to resume from the checkpoint before it"):
        run(tmp_path / "run", resume=True)


def test_loss_that_is_not_finite_names_the_last_checkpoint(tmp_path):
    given = materials()
    honest, calls = given.policy.logprobs, []

    def logprobs(groups, **options):
        calls.append(1)
        return honest(groups, **options) * (float("nan") if len(calls) > 6 else 1.0)

    given.policy.logprobs = logprobs
    with pytest.raises(
        RunError, match=r"stage 'warmup' step 7: the loss is nan; .* last checkpoint is .*warmup-000006"
    ):
        run(tmp_path / "run", materials=given)


def test_dry_run_says_the_plan_and_changes_nothing(tmp_path, capsys):
    given = materials()
    before = {name: value.clone() for name, value in given.policy.model.state_dict().items()}
    assert run(tmp_path / "run", dry_run=True, materials=given, progress=PlainProgress()) == []
    said = capsys.readouterr().err
    assert "12 images to learn from" in said
    assert "rsrs: 30 steps, 6 images a step, 4 sampled captions an image, up to 144 sampled tokens a step" in said
    assert "peak memory" in said
    assert not (tmp_path / "run").exists()
    assert all(torch.equal(value, before[name]) for name, value in given.policy.model.state_dict().items())


def test_dry_run_without_weights_and_data(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train(load_recipe("rsrs-qwen2.5-vl-3b"), out=tmp_path / "run", dry_run=True, progress=PlainProgress())
    said = capsys.readouterr().err
    assert "rsrs: 1,000 steps, 128 images a step, 8 sampled captions an image" in said
    assert "memory not measured" in said


def test_dry_run_takes_the_heaviest_image_that_opens(tmp_path, capsys):
    """Sizes are read from headers, which say nothing about the rest of the file."""
    given = materials()
    honest_open, honest_sample, sampled = given.open_image, given.policy.sample, []
    given.data[:] = [replace(s, image=tmp_path / s.image) for s in given.data]
    for sample in given.data:
        Image.new("RGB", (10 + int(sample.image.stem), 10)).save(sample.image)

    def open_image(path):
        if path.stem in ("11", "9"):
            raise ImageError(f"{path}: is cut off")
        return honest_open(path)

    def sample(prefixes, n, sampling, noise=None):
        assert not torch.is_grad_enabled()
        sampled.append((len(prefixes), n))
        return honest_sample(prefixes, n, sampling, noise)

    given.open_image, given.policy.sample = open_image, sample
    run(tmp_path / "run", dry_run=True, materials=given, progress=PlainProgress())
    said = capsys.readouterr().err
    assert "(s10)" in said
    assert "left out" in said
    assert "11.png: is cut off" in said
    assert "9.png" not in said
    assert sampled == [(6, 4)]  # rsrs: all images of a step; the warm-up samples nothing
    longer = [replace(s, references=("a toy " * 50,)) for s in given.data]
    given.data[:] = longer
    for name, size in (("", "6 x 4 captions of up to 6 tokens"), ("shown", "2 x 5 captions of up to 101 tokens")):
        run(tmp_path / "run", recipe=variant(name), dry_run=True, materials=given, progress=PlainProgress())
        said = capsys.readouterr().err
        assert size in said.split("rsrs: heaviest")[1]
        assert "of failed images 2 x 1 captions of up to 101 tokens" in said
    given.open_image = lambda path: open_image(Path("11.png"))
    with pytest.raises(DataError, match="none of 12 images can be opened"):
        run(tmp_path / "run", dry_run=True, materials=given)


def test_a_stage_can_start_from_an_earlier_one(tmp_path):
    """What comes in between changes nothing, neither for the weights nor for the reference of a KL penalty."""
    first, second = RECIPE["stages"]
    between, last = second | {"name": "between", "steps": 3}, second | {"seed": 5}
    run(tmp_path / "straight", recipe={**RECIPE, "stages": [first, last]})
    fork = {**RECIPE, "stages": [first, between, last | {"start_from": "warmup"}]}
    run(tmp_path / "fork", recipe=fork)
    assert same(tmp_path / "fork", tmp_path / "straight")
    assert [row["images_seen"] for row in rows(tmp_path / "fork")][-1] == 8 * 4 + 30 * 6
    for step in (1, 7):  # from its beginning, and from its middle
        out = tmp_path / f"stopped-{step}"
        with pytest.raises(Killed):
            run(out, recipe=fork, progress=KillAt("rsrs", step))
        run(out, recipe=fork, resume=True)
        assert same(out, tmp_path / "straight")
        assert timeless(out) == timeless(tmp_path / "fork")
    run(
        tmp_path / "base",
        recipe={**RECIPE, "stages": [first | {"steps": 1}, first | {"name": "rsrs", "start_from": "base"}]},
    )
    run(tmp_path / "alone", recipe={**RECIPE, "stages": [first | {"name": "rsrs", "seed": 1}]})
    assert same(tmp_path / "base", tmp_path / "alone")
    out = tmp_path / "lost"
    with pytest.raises(Killed):
        run(out, recipe=fork, progress=KillAt("rsrs", 1))
    (out / "checkpoints" / "start-warmup" / "weights.pt").write_bytes(b"")
    with pytest.raises(RunError, match="start-warmup: is gone or damaged, and stages.rsrs.start_from needs it"):
        run(out, recipe=fork, resume=True)
    with pytest.raises(RecipeError, match="start_from: no 'later' before it; there is base, warmup"):
        parse_recipe({**RECIPE, "stages": [first, last | {"start_from": "later"}]})


@pytest.mark.parametrize(
    ("row", "override", "words"),
    [
        ("{broken", "name=x", "samples.jsonl"),
        ('{"id": "a", "image": "a.png", "split": "train"}', "data.train_split=tarin", 'there is no split "tarin"'),
    ],
)
@pytest.mark.parametrize("model", ["embedded", "nobody/has-this-model"])
def test_dry_run_with_data_that_is_wrong(tmp_path, row, override, words, model):
    (tmp_path / "samples.jsonl").write_text(row + "\n")
    recipe = load_recipe("rsrs-scenes", [f"data.path={tmp_path}", f"model.name={model}", override])
    with pytest.raises(DataError, match=words):
        train(recipe, out=tmp_path / "run", dry_run=True)


def test_captions_to_imitate_are_looked_for_in_all_samples(tmp_path, monkeypatch):
    rows = [{"id": f"s{i}", "image": f"{i}.png", "split": "train"} for i in range(1200)]
    (tmp_path / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr(gathering, "load_recipe_policy", lambda recipe, device=None: None)
    monkeypatch.setattr(gathering, "_prefix_trains", lambda policy: False)
    monkeypatch.setattr(gathering, "make_rewards", lambda recipe, data, vocabulary: None)
    recipe = load_recipe("sft-scenes", [f"data.path={tmp_path}"])
    with pytest.raises(RecipeError, match="no caption to imitate"):
        gathering.build_training_setup(recipe, tmp_path)
    rows[-1]["meta"] = {"casual": ["a toy"]}
    rows[-1]["references"] = ["a drum"]
    (tmp_path / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert len(gathering.build_training_setup(recipe, tmp_path).data) == 1200


class Told(Progress):
    def __init__(self):
        self.said = []

    def say(self, text):
        self.said.append(text)


def test_images_left_in_the_buffer_are_said(tmp_path):
    short = copy.deepcopy(RECIPE)
    short["stages"][1] |= {"steps": 1, "imitation": {"batch": 9}}
    told = Told()
    _, result = train(
        parse_recipe(short), out=tmp_path / "run", materials=materials(views={"tts": says()}), progress=told
    )
    assert result.left_in_buffer == 6
    (said,) = [text for text in told.said if "buffer" in text]
    assert "rsrs: 6 failed images still waited in the buffer at the end and were not imitated; none ever were" in said
    assert "lower imitation.batch (now 9)" in said
    short["stages"][1]["imitation"]["batch"] = 4
    told = Told()
    train(parse_recipe(short), out=tmp_path / "again", materials=materials(views={"tts": says()}), progress=told)
    assert [text for text in told.said if "buffer" in text] == [
        "rsrs: 2 failed images still waited in the buffer at the end and were not imitated"
    ]


def test_a_reward_that_never_varies_is_said_at_the_end_of_a_short_stage(tmp_path):
    short = copy.deepcopy(RECIPE)
    short["stages"][1] |= {"steps": 2}
    for name, view in {"flat": says(), "good": None}.items():
        told = Told()
        given = materials() if view is None else materials(views={"tts": view})
        train(parse_recipe(short), out=tmp_path / name, materials=given, progress=told)
        said = "rsrs: reward 'tts' never varied among captions of one image; it taught nothing"
        assert (said in told.said) == (name == "flat")


def test_callbacks_leave_the_mode_of_the_model_alone(tmp_path):
    given = materials()
    it = whole_run.TrainingRun(parse_recipe(RECIPE), tmp_path, given, Told(), None, None)
    for mode in (True, False):
        given.policy.model.train(mode)
        assert it._outside(lambda policy: policy.model.training) is False
        assert given.policy.model.training is mode


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_training_in_half_precision_is_warned_of(kind):
    given, told = materials(), Told()
    given.policy.model.to(kind)
    gathering.warn_of_half_precision(given.policy, told.say)
    assert bool(told.said) == (kind == torch.bfloat16)
    assert all("model.dtype: float32" in text for text in told.said)


@pytest.mark.parametrize("precision", ["bf16", "no"])
def test_mixed_precision_can_change_between_runs_of_a_process(tmp_path, precision):
    recipe = parse_recipe(RECIPE | {"model": {"mixed_precision": precision}})
    assert len(train(recipe, out=tmp_path / "run", materials=materials(views={"b": says("blue")}))) == 2


def test_half_precision_needs_a_gpu(tmp_path):
    recipe = parse_recipe(RECIPE | {"model": {"mixed_precision": "fp16"}})
    with pytest.raises(RunError, match="fp16 needs a GPU"):
        train(recipe, out=tmp_path / "run", materials=materials())


def test_random_states_come_back():
    seed_everything(3)
    state = random_state()
    first = (random.random(), np.random.rand(), torch.rand(2).tolist())  # noqa: NPY002
    restore_random_state(state)
    assert (random.random(), np.random.rand(), torch.rand(2).tolist()) == first  # noqa: NPY002


def test_journal_cuts_and_writes_null_for_what_is_not_finite(tmp_path):
    path = tmp_path / "metrics.jsonl"
    journal = MetricsLog(path)
    journal.write({"a": 1})
    size = journal.sync()
    journal.write({"b": float("nan")})
    journal.close()
    assert path.read_text() == '{"a": 1}\n{"b": null}\n'
    MetricsLog(path, size).close()
    assert path.read_text() == '{"a": 1}\n'


def test_live_display(tmp_path, capsys):
    run(tmp_path / "run", progress=LiveProgress())
    assert "rsrs" in capsys.readouterr().err


def test_out_of_memory_is_said_plainly(tmp_path):
    given = materials()

    def logprobs(groups, **options):
        raise torch.OutOfMemoryError("CUDA out of memory")

    given.policy.logprobs = logprobs
    with pytest.raises(RunError, match=r"out of memory; lower micro_batch, .*checkpoint is .*state-00-warmup-000000"):
        run(tmp_path / "run", materials=given)


def test_a_reward_that_breaks_names_itself(tmp_path):
    def broken(samples, captions):
        raise ZeroDivisionError("division by zero")

    with pytest.raises(RunError, match="reward 'mine' could not be measured for 100% .*: division by zero"):
        run(tmp_path / "run", materials=materials(views={"mine": broken}))
