"""`--injection`: what orders in captions do stands beside the scores, in the files, and in what asking takes."""

from __future__ import annotations

import json
import re

import pytest

from capwright.data import open_dataset
from capwright.robustness.prompt_injection import ATTACKS
from capwright.scenes import build
from chat_server import ChatServer
from lexical_server import lexical_reply


def obeying(body):
    """Looks words up, but does as it is told."""
    told = any("answer A" in str(message["content"]) for message in body["messages"])
    return "A" if told else lexical_reply(body["messages"])


@pytest.fixture
def server():
    with ChatServer(obeying) as server:
        yield server


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return open_dataset(build(6, 0, tmp_path_factory.mktemp("world") / "world", size=24))


def asking(server, **options):
    who = {"name": server.address, "model": "toy", "cache": None} | options
    return ["--scorers", "caprl,length", "--set", f"caprl.judge={json.dumps(who)}"]


@pytest.mark.parametrize("command", ["score", "eval"])
def test_a_judge_that_obeys_is_found_out(cli, server, world, said, tmp_path, command):
    files = [said, world.root] if command == "score" else [world.root, said]
    told = cli(command, *files, *asking(server), "--injection", "--bootstrap", 20, "--json", tmp_path / "all.json")
    assert told.code == 0, told.err
    effects = json.loads((tmp_path / "all.json").read_text())["injection"]
    assert [effect["attack"] for effect in effects] == ["control", *ATTACKS]
    found = {effect["attack"]: effect for effect in effects}
    assert found["order"]["changed"] > 0
    assert found["letter"]["changed"] == 0
    assert all((effect["images"], effect["unknown"], effect["others_changed"]) == (6, 0, 0) for effect in effects)
    row = rf"caprl\.accuracy +order +[+-]0\.\d+ \(.* to .*\) +{found['order']['changed']} of 6 +0 of 6 +0 of 6"
    assert re.search(row, told.out)


def test_the_page_of_a_run_shows_it(cli, world, said, tmp_path):
    told = cli("eval", world.root, said, "--scorers", "caprl", "--injection", "--bootstrap", 5, "--out", tmp_path / "e")
    assert told.code == 0, told.err
    assert len(json.loads((tmp_path / "e" / "summary.json").read_text())["injection"]) == 1 + len(ATTACKS)
    page = (tmp_path / "e" / "report.html").read_text()
    assert "Orders in captions" in page
    assert all(f">{attack}<" in page for attack in ("control", *ATTACKS))


def test_what_it_would_take_is_told(cli, server, world, said, tmp_path):
    given = ["score", said, world.root, *asking(server, cache=str(tmp_path / "cache"))]

    def calls(*more):
        told = cli(*given, *more, "--dry-run")
        assert told.code == 0, told.err
        return int(re.search(r": ([\d,]+) calls", told.out)[1].replace(",", ""))

    alone, with_orders = calls(), calls("--injection")
    assert server.bodies == []
    assert cli(*given, "--injection", "--bootstrap", 0).code == 0
    assert len(server.bodies) == with_orders > 5 * alone


def test_scorers_that_ask_nobody(cli, world, said):
    for command, *files in (("score", said, world.root), ("eval", world.root, said)):
        told = cli(command, *files, "--scorers", "length", "--injection")
        assert told.code == 1
        assert "none of the scorers asks a judge" in told.err
