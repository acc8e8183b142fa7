"""Commands whose judge is a real HTTP server that fails: what could not be had is unknown, never 0, and is told."""

from __future__ import annotations

import json
import re
import time

import pytest

from capwright.data import open_dataset
from capwright.scenes import build

ASKING = "caprl,captionqa,dcscore,balcap"
FAULTS = ("429", "500", "hang", "cut", "malformed", "wrong", "empty", "none", "drip", "filtered")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return open_dataset(build(12, 0, tmp_path_factory.mktemp("world") / "world", size=24))


def judge(server, **options):
    """Somebody at this server who gives up soon and keeps nothing."""
    known = {"name": server.address, "model": "toy", "cache": None, "call_seconds": 0.3, "retries": 0, "patience": 10}
    return json.dumps(known | options)


def asking(server, **options):
    """Settings under which all four scorers ask this server, about text."""
    settings = [f"{name}.judge={judge(server, **options)}" for name in ASKING.split(",")]
    settings += ["dcscore.evidence=facts", "balcap.evidence=facts"]
    return [word for setting in settings for word in ("--set", setting)]


def scored(cli, said, world, path, *settings, scorers=ASKING):
    told = cli("score", said, world.root, "--scorers", scorers, "--json", path, "--bootstrap", 20, *settings)
    assert told.code == 0, told.err
    return told, json.loads(path.read_text())["systems"]["said"]


def per_image(system):
    return {(row["id"], name): value for row in system["per_image"] for name, value in row["scores"].items()}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_call_that_fails_makes_one_caption_unknown_and_none_0(cli, server, said, world, tmp_path, fault):
    def settings(seconds):
        asked = judge(server, concurrency=1, call_seconds=seconds)
        return ["--set", f"dcscore.judge={asked}", "--set", "dcscore.evidence=facts"]

    _, whole = scored(cli, said, world, tmp_path / "whole.json", *settings(30), scorers="dcscore")
    server.fault(fault)
    # Where the fault ends at the limit it has to be short, but not so short that a busy machine passes it by itself.
    limited = settings(4 if fault in ("hang", "drip") else 30)
    told, hurt = scored(cli, said, world, tmp_path / "hurt.json", *limited, scorers="dcscore")
    before, after = per_image(whole), per_image(hurt)
    lost = {key[0] for key in after if after[key] is None and before[key] is not None}
    assert all(after[key] == before[key] for key in after if key[0] not in lost)
    assert hurt["scored"]["dcscore"] == 12 - len(lost)
    if fault == "429":  # a limit: one waits, and asks again
        assert not lost
        return
    assert len(lost) == 1
    ((status, captions),) = hurt["unknown_by"]["dcscore"].items()
    assert captions == 1
    assert re.search(rf"of these by dcscore\s+11 \(unknown: 1 {status}\)", told.out)
    [why] = hurt["unknown_why"]["dcscore"]
    assert (why["images"], why["example"]) == (1, *lost)
    assert why["reason"]
    assert f"said: dcscore: unknown for 1 image, such as {why['example']}: {why['reason'][:200]}" in told.err


def test_many_faults_of_all_kinds_and_four_scorers(cli, server, said, world, tmp_path):
    """Half of all calls fail; whatever is told is what a judge without faults says of the same captions."""
    _, whole = scored(cli, said, world, tmp_path / "whole.json", *asking(server, call_seconds=30))
    for _ in range(6):
        for fault in FAULTS:
            if fault not in ("hang", "drip"):
                server.fault(fault)
                server.fault("")
    told, hurt = scored(cli, said, world, tmp_path / "hurt.json", *asking(server, concurrency=1, call_seconds=30))
    unanswered = {key: value for key, value in per_image(hurt).items() if key[1].endswith("unanswered")}
    assert hurt["scores"]["caprl.unanswered"]["value"] > 0.05
    assert "caprl.unanswered" in told.out
    before, after = per_image(whole), per_image(hurt)
    for (id, name), value in after.items():
        scorer = name.partition(".")[0]
        touched = unanswered.get((id, f"{scorer}.unanswered"), 0)
        if value is not None and not touched and not name.endswith("unanswered"):
            assert value == before[id, name], (id, name)
    assert hurt["unknown_by"]["caprl"].keys() <= {"judge_error", "unparseable", "refusal", "timeout"}


def test_an_outage_that_ends_costs_time_and_no_score(cli, server, said, world, tmp_path):
    patient = asking(server, call_seconds=30)  # on a busy machine no call runs out of its own time
    _, whole = scored(cli, said, world, tmp_path / "whole.json", *patient)
    assert whole["scores"]["caprl.unanswered"]["value"] == 0
    server.go_down(2)
    started = time.monotonic()
    _, hurt = scored(cli, said, world, tmp_path / "hurt.json", *patient)
    assert time.monotonic() - started > 1.5
    assert hurt["scored"] == dict.fromkeys(ASKING.split(","), 12)
    assert {name: one["value"] for name, one in hurt["scores"].items()} == {
        name: one["value"] for name, one in whole["scores"].items()
    }


def test_a_judge_that_is_down_ends_the_command(cli, server, said, world, tmp_path):
    server.go_down()
    settings = ["--set", f"caprl.judge={judge(server, patience=1)}"]
    told = cli("score", said, world.root, "--scorers", "caprl", "--json", tmp_path / "s.json", *settings)
    assert told.code == 1
    assert server.address in told.err
    assert "patience is 1 s" in told.err
    assert not (tmp_path / "s.json").exists()


def test_eval_and_the_reports_say_what_a_judge_did_not(cli, server, said, world, tmp_path):
    asked = judge(server, concurrency=1, call_seconds=30)
    settings = ["--set", f"dcscore.judge={asked}", "--set", "dcscore.evidence=facts"]
    server.fault("500", times=2)
    measured = ["--scorers", "dcscore,length", "--bootstrap", 20, *settings]
    told = cli("eval", world.root, said, *measured, "--json", tmp_path / "e.json", "--out", tmp_path / "run")
    assert told.code == 0, told.err
    assert "10 (unknown: 2 judge_error)" in told.out
    system = json.loads((tmp_path / "e.json").read_text())["systems"]["said"]
    assert (system["scored"], system["unknown_by"]) == (
        {"dcscore": 10, "length": 12}, {"dcscore": {"judge_error": 2}, "length": {}}
    )  # fmt: skip
    page = (tmp_path / "run" / "report.html").read_text()
    assert re.search(r"(?i)dcscore of said: 2 images could not be measured \(judge_error\)", page)
    server.fault("500", times=2)
    told = cli("report", said, world.root, *measured, "--out", tmp_path / "scores.html")
    assert told.code == 0, told.err
    assert "dcscore of said: 2 images could not be measured (judge_error)" in (tmp_path / "scores.html").read_text()


@pytest.mark.slow
def test_an_outage_of_half_a_minute(cli, server, said, world, tmp_path):
    server.go_down(30)
    _, hurt = scored(cli, said, world, tmp_path / "hurt.json", *asking(server, patience=60, call_seconds=30))
    assert hurt["scored"] == dict.fromkeys(ASKING.split(","), 12)
