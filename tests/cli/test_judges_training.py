"""Training runs whose judge is a real HTTP server that fails: they wait, say what they lost, or stop and can go on."""

from __future__ import annotations

import json

#: Turns a recipe of the kindergarten into a run of a few seconds; rewards come at every step.
FEW = (
    "data.scenes.n=40", "data.scenes.size=24", "data.eval_split=val", "stages.warmup.steps=1",
    "stages.warmup.images_per_step=4", "stages.caprl.steps=4", "stages.caprl.images_per_step=4",
    "stages.caprl.captions_per_image=2", "stages.caprl.sampling.max_tokens=8", "stages.caprl.eval_every=null",
    "stages.caprl.checkpoint_every=2", "evaluation.scorers=[length]", "evaluation.options={}",
    "evaluation.sampling.max_tokens=8", "evaluation.bootstrap=20",
)  # fmt: skip


def train(cli, server, llava, out, *more, **options):
    judge = {"name": server.address, "model": "toy", "cache": None, "call_seconds": 0.3, "retries": 0, "patience": 10}
    reward = f"rewards.caprl.options.judge={json.dumps(judge | options)}"
    return cli("train", "caprl-scenes", f"model.name={llava}", *FEW, reward, *more, "--out", out)


def journal(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_a_run_whose_judge_is_down_from_the_first_call(cli, server, llava, tmp_path):
    """It stops after the stated patience; nothing is taken for failed, nothing is imitated, and it can go on."""
    server.go_down()
    out, imitate = tmp_path / "run", ["stages.caprl.kind=rsrs", "stages.caprl.on_failed=imitate"]
    told = train(cli, server, llava, out, *imitate, patience=1)
    assert told.code == 1
    for words in (server.address, "patience is 1 s", "state-01-caprl-000000", f"capwright train --resume {out}"):
        assert words in told.err
    assert [row["stage"] for row in journal(out)] == ["warmup"]

    server.come_back()
    again = cli("train", "--resume", out)
    assert again.code == 0, again.err
    rows = [row for row in journal(out) if row["stage"] == "caprl"]
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert rows[0]["buffer"] <= rows[0]["groups"]["failed"]


def test_a_run_lives_through_an_outage_and_says_what_it_lost(cli, server, llava, tmp_path):
    out = tmp_path / "run"
    answering = server.answering

    def falls_once(body):
        if len(server.bodies) == 30:
            server.go_down(2)
        return answering(body)

    server.answering = falls_once
    for _ in range(6):
        server.fault("wrong")
    told = train(cli, server, llava, out)
    assert told.code == 0, told.err
    rows = [row for row in journal(out) if row["stage"] == "caprl"]
    assert len(rows) == 4
    assert max(row["seconds"] for row in rows) > 1.5
    assert len(server.bodies) > 30
    lost = sum(row["groups"]["unknown"] for row in rows)
    assert lost == 0 or f"caprl: rewards of {lost} of 16 groups are unknown" in told.err


def test_groups_that_could_not_be_judged_teach_nothing_and_are_counted(cli, server, llava, tmp_path):
    out, answering = tmp_path / "run", server.answering
    server.answering = lambda body: {"text": ""} if len(server.bodies) <= 40 else answering(body)
    imitate = ["stages.caprl.kind=rsrs", "stages.caprl.on_failed=imitate", "stages.caprl.imitation.batch=1000"]
    told = train(cli, server, llava, out, *imitate)
    assert told.code == 0, told.err
    rows = [row for row in journal(out) if row["stage"] == "caprl"]
    lost, failed = (sum(row["groups"][state] for row in rows) for state in ("unknown", "failed"))
    assert lost > 0
    assert rows[-1]["buffer"] <= failed
    assert f"caprl: rewards of {lost} of 16 groups are unknown; they taught nothing" in told.err
    assert rows[0]["reward"]["caprl"] is None or rows[0]["groups"]["unknown"] < 4


def test_a_judge_that_is_down_when_the_run_is_measured(cli, server, llava, tmp_path):
    """Training is over and kept; only the measuring is done again."""
    server.go_down()
    out, who = tmp_path / "run", {"name": server.address, "model": "toy", "cache": None, "patience": 1}
    last = ["evaluation.scorers=[caprl]", f"evaluation.options.caprl.judge={json.dumps(who)}"]
    told = cli("train", "caprl-scenes", f"model.name={llava}", *FEW, *last, "--out", out)
    assert told.code == 1
    assert server.address in told.err
    assert told.err.count(f"go on with: capwright train --resume {out}") == 1
    trained = journal(out)

    server.come_back()
    again = cli("train", "--resume", out)
    assert again.code == 0, again.err
    assert journal(out) == trained
    assert "caprl.accuracy" in again.out
