"""The benchmark of sample efficiency: arms differ where they say so, nothing is claimed that was not reached."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

import sample_efficiency as bench


def test_arms_differ_only_in_experts_and_in_what_becomes_of_dead_groups():
    plans = {arm: bench.recipe_of(arm, 3, Path("scenes"), "no", bench.FULL).model_dump() for arm in bench.ARMS}
    stages = {arm: plan.pop("stages")[0] for arm, plan in plans.items()}
    assert [stages[arm]["on_failed"] for arm in bench.ARMS] == ["drop", "resample", "imitate", "imitate"]
    assert [bool(stages[arm]["demonstrations"]) for arm in bench.ARMS] == [False, False, False, True]
    for arm, stage in stages.items():
        assert stage.pop("clip")["high"] == (0.28 if arm == "DAPO" else 0.2)
        assert stage["inner_epochs"] == 1, "with one update a step the clip never acts"
        for key in (
            "name",
            "kind",
            "on_failed",
            "imitation",
            "demonstrations",
            "resample_rounds",
            "eval_every",
            "steps",
        ):
            stage.pop(key)
        assert stage == stages["GRPO"]
        assert plans[arm] | {"name": ""} == plans["GRPO"] | {"name": ""}


def row(kind, step, images, **more):
    return json.dumps({"kind": kind, "step": step, "images_seen": images, "elapsed": step * 10.0, **more})


def scores(micro, never):
    return {"tts": {"micro": micro, "by_tier": {} if never is None else {"never": never}}}


@pytest.fixture
def curve(tmp_path):
    warm, arm = tmp_path / "warmup", tmp_path / "arm"
    warm.mkdir()
    arm.mkdir()
    (warm / "metrics.jsonl").write_text(row("eval", 9, 99, scores=scores(10.0, 0.0)))
    lines = [
        row("step", 1, 4, loss=0.5, groups={"live": 1, "failed": 3}),
        row("step", 2, 8, loss=None, groups={"live": 0, "failed": 4}),
        row("eval", 2, 8, scores=scores(30.0, 8.0)),
        row("step", 3, 16, loss=0.5, groups={"live": 4, "failed": 4}),
        row("eval", 3, 16, scores=scores(50.0, None)),
    ]
    (arm / "metrics.jsonl").write_text("\n".join(lines))
    return bench.records_of("GRPO", 0, arm, warm)


def test_records_begin_with_the_warmed_up_captioner(curve):
    assert [r["images_seen"] for r in curve] == [0, 8, 16]
    assert [r["tts_micro"] for r in curve] == [10.0, 30.0, 50.0]
    assert [r["tts_never"] for r in curve] == [0.0, 8.0, None]
    assert [r["live_share"] for r in curve] == [None, 0.125, 0.5], "of the steps since the measurement before"
    assert [r["updates"] for r in curve] == [0, 1, 2], "a step without anything to learn is none"
    assert [r["seconds"] for r in curve] == [0.0, 20.0, 30.0]


def test_what_was_not_measured_is_unknown(curve):
    assert bench.score_at(curve, 12) == 40.0
    assert math.isnan(bench.score_at(curve, 17)), "the curve ends at 16 images"
    assert math.isnan(bench.score_at(curve, 16, "tts_never"))
    assert bench.seconds_to(curve, 40) == 25.0
    assert bench.seconds_to(curve, 5) == 0.0
    assert math.isnan(bench.seconds_to(curve, 50.1))


def test_a_run_ends_only_after_it_was_measured():
    purse = bench.Purse(budget=100, every=2)
    purse.step({"images_seen": 96, "step": 2})
    purse.step({"images_seen": 128, "step": 3})
    with pytest.raises(bench.Spent):
        purse.step({"images_seen": 160, "step": 4})
