"""`--dry-run` of commands that ask: what would be asked is counted, no judge is asked, and the count comes true."""

from __future__ import annotations

import json
import re

import pytest

from capwright.data import open_dataset
from capwright.judges.client.cost_estimate import ENTRIES, CostEstimate, example
from capwright.judges.load import load_judge
from capwright.scenes import build
from capwright.types import ModelError

PRICES = {"input": 1.0, "output": 2.0}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return open_dataset(build(10, 0, tmp_path_factory.mktemp("world") / "world", size=24))


def asking(server, names, **options):
    who = json.dumps({"name": server.address, "model": "toy", "cache": None, "prices": PRICES} | options)
    settings = [f"{name}.judge={who}" for name in names]
    settings += [f"{name}.evidence=facts" for name in names if name in ("dcscore", "balcap")]
    return [word for setting in settings for word in ("--set", setting)]


def counted(out):
    """calls, cached, tokens, cost"""
    found = re.search(r": ([\d,]+) calls, ([\d,]+) answers .* ([\d,]+) tokens, at most ([\d.e-]+) by", out)
    return tuple(float(number.replace(",", "")) for number in found.groups())


@pytest.mark.parametrize("names", [["caprl"], ["captionqa"], ["dcscore"], ["balcap"], ["caprl", "dcscore"]])
@pytest.mark.parametrize("command", ["score", "eval"])
def test_as_many_calls_as_said(cli, server, world, said, tmp_path, command, names):
    paths = [said, world.root] if command == "score" else [world.root, said]
    given = [*paths, "--scorers", ",".join([*names, "length"]), *asking(server, names, cache=str(tmp_path / "cache"))]
    told = cli(command, *given, "--dry-run")
    assert told.code == 0, told.err
    assert server.bodies == []
    assert f"{server.address}, toy:" in told.out
    assert "length" not in told.out
    calls, cached, tokens, cost = counted(told.out)
    assert cli(command, *given, "--bootstrap", 0).code == 0
    assert len(server.bodies) == calls
    assert calls * 10 < tokens
    assert cost > 0
    again = cli(command, *given, "--dry-run")
    assert counted(again.out) == (0, calls + cached, 0, 0)
    assert len(server.bodies) == calls


def test_nobody_would_be_asked(cli, world, said):
    told = cli("score", said, world.root, "--scorers", "caprl,length", "--dry-run")
    assert told.code == 1
    assert "none of the scorers asks a server" in told.err


def test_mistakes_are_told(cli, server, world, said):
    given = ["score", said, world.root, "--scorers", "caprl", *asking(server, ["caprl"]), "--dry-run"]
    told = cli(*given, "--set", "captionqa.seed=1")
    assert told.code == 1
    assert "captionqa: has options but is not among the scorers" in told.err
    with pytest.raises(ModelError, match="dry_run must be a CostEstimate"):
        load_judge(server.address, model="toy", dry_run=True)


def test_made_up_answers_fit_their_schema(server):
    schema = {
        "type": "object",
        "properties": {
            "claims": {"type": "array", "items": {"type": "object", "properties": {"claim": {"type": "string"}}}},
            "mark": {"type": "integer", "enum": [3, 4]},
            "sure": {"type": "boolean"},
            "share": {"type": "number", "maximum": 0.5},
        },
    }
    found = example(schema)
    assert len({one["claim"] for one in found["claims"]}) == ENTRIES
    assert (found["mark"], found["sure"], found["share"]) == (3, True, 0.5)
    costs = CostEstimate()
    judge = load_judge(server.address, model="toy", cache=None, dry_run=costs)
    verdicts = judge.verify([(judge.split(["A red board."])[0].claims, "A red board.")])
    assert len(verdicts[0]) == ENTRIES
    assert costs.found[f"{server.address}, toy"].calls == 2
    assert costs.found[f"{server.address}, toy"].cost is None
    assert server.bodies == []


def test_training_says_what_its_judges_will_be_asked(cli, server, world, tmp_path):
    who = json.dumps({"name": server.address, "model": "toy", "cache": None, "prices": PRICES})
    changed = [f"data.path={world.root}", f"rewards.caprl.options.judge={who}", "rewards.caprl.options.mode=paper"]
    few = ["stages.caprl.images_per_step=4", "stages.caprl.captions_per_image=2", "rewards.caprl.options.n=5"]
    told = cli("train", "caprl-scenes", *changed, *few, "stages.caprl.steps=3", "--out", tmp_path / "run", "--dry-run")
    assert told.code == 0, told.err
    step, whole = re.findall(r"([\d,]+) calls, at most ([\d,]+) tokens and ([\d.e-]+) by your prices", told.out)
    calls, tokens, cost = (float(number.replace(",", "")) for number in step)
    assert 4 * 2 < calls <= 4 * 2 * 5, "at most 5 draws for each of 8 captions"
    assert 100 * calls < tokens
    assert cost > 0
    assert float(whole[0].replace(",", "")) == 3 * calls
    assert f"caprl: a step asks {server.address}, toy" in told.out
    assert server.bodies == []


def test_training_that_asks_nobody_says_nothing_of_judges(cli, world, tmp_path):
    told = cli("train", "caprl-scenes", f"data.path={world.root}", "--out", tmp_path / "run", "--dry-run")
    assert told.code == 0, told.err
    assert "asks" not in told.out
