"""Questions over HTTP: a served model that sees the built-in kindergarten writes and answers, with faults between."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time

import pytest

from capwright.curation import QuestionMaker
from capwright.data import open_dataset
from capwright.judges.load import load_judge
from capwright.scenes import build
from chat_server import ChatServer
from lexical_server import lexical_reply
from seeing_model import Sees, facts_of


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return open_dataset(build(10, 0, tmp_path_factory.mktemp("world") / "world", size=24))


def test_from_images_to_questions_through_a_server_that_fails_at_times(cli, world, tmp_path):
    sees = Sees(world)
    with ChatServer(sees) as server:
        for kind in ("500", "malformed", "cut", "empty"):
            server.fault(kind)
        settings = ["--set", "judge.model=toy", "--set", "judge.cache=null"]
        said = cli("data", "questions", world.root, "--out", tmp_path / "asked", "--judge", server.address, *settings)
    assert said.code == 0, said.err
    made = open_dataset(tmp_path / "asked")
    for sample in made:
        found = [(q.text, list(q.options), q.answer, q.kind) for q in sample.questions]
        assert found == [(q["question"], q["options"], q["answer"], q["kind"]) for q in facts_of(sample)]
    assert said.out.splitlines() == [
        "40 of 60 questions kept, 10 samples",
        '  10 left out: an option such as "all of the above"',
        "  10 left out: answered right without the image",
    ]
    provenance = made[0].meta["questions_provenance"]
    assert provenance["writer"] == provenance["reader"]
    assert provenance["writer"].startswith("chat:toy;prompts=")
    assert sees.asked.count("answer_image") == 10 * 5 * 4


def test_what_could_not_be_had_is_asked_again_when_the_folder_is_removed(cli, world, tmp_path):
    with ChatServer(lambda body: lexical_reply(body["messages"])) as server:
        out = tmp_path / "asked"
        words = ["data", "questions", world.root, "--out", out, "--judge", server.address, "--writer", "facts"]
        words += ["--evidence", "references", "--set", "judge.model=toy", "--set", "judge.retries=0"]
        words += ["--set", "judge.cache=null"]
        server.fault("500", times=2)
        told = cli(*words)
        assert "an answer could not be had" in told.out
        assert f"remove {out} and give the same command again" in told.err
        shutil.rmtree(out)
        asked = len(server.bodies)
        told = cli(*words)
        assert told.code == 0
        assert "could not be had" not in told.out + told.err
        assert 0 < len(server.bodies) - asked < asked / 2


def test_an_image_that_is_none_costs_itself_alone(world, tmp_path):
    shutil.copytree(world.root, tmp_path / "world")
    (tmp_path / "world" / "images" / world[3].image.name).write_bytes(b"not an image")
    with ChatServer(Sees(world)) as server:
        judge = load_judge(server.address, model="toy", cache=None)
        step = QuestionMaker(judge, judge)
        made = list(step(open_dataset(tmp_path / "world")))
    assert [len(sample.questions) for sample in made] == [0 if i == 3 else 4 for i in range(10)]
    assert step.tally.unwritten == {"missing_image": 1}
    assert world[3].image.name in step.tally.failures[0][1]


def test_killed_by_the_system_and_gone_on_with(cli, tmp_path):
    world = open_dataset(build(24, 0, tmp_path / "world", size=24))
    sees = Sees(world)
    journal = tmp_path / "broken.questions.jsonl"
    with ChatServer(sees, latency=0.005) as server:
        settings = ["--judge", server.address, "--set", "judge.model=toy", "--set", "judge.cache=null"]
        settings += ["--set", "judge.concurrency=4", "--rotations", "2"]
        assert cli("data", "questions", world.root, "--out", tmp_path / "whole", *settings).code == 0
        command = ["data", "questions", str(world.root), "--out", str(tmp_path / "broken"), *settings]
        with subprocess.Popen([sys.executable, "-m", "capwright", *command]) as process:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and not (journal.exists() and journal.read_bytes().count(b"\n") > 10):
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
        assert 10 < journal.read_bytes().count(b"\n") < 25, "in the middle"
        assert not (tmp_path / "broken").exists()
        sees.asked.clear()
        assert cli(*command).code == 0
        assert 8 <= sees.asked.count("write_questions") < 20, "the first 16 samples are known, or most of them"
    for name in ("samples.jsonl", f"images/{world[0].image.name}"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "broken" / name).read_bytes(), name
    assert (tmp_path / "whole.questions.jsonl").read_bytes() == journal.read_bytes()
