"""Commands that ask a judge, killed at ten random moments each: nobody is asked again for an answer that had come."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from capwright.data import open_dataset
from capwright.scenes import build, casual_captions, sample_scene
from chat_server import ChatServer
from lexical_server import lexical_reply
from seeing_model import Sees

KILLS, AT_ONCE = 10, 4


def command(job, server, folder, world):
    """The words of a job that asks this server and keeps what it is told in the folder."""
    judge = {"name": server.address, "model": "toy", "concurrency": AT_ONCE, "cache": str(folder / "answers")}
    if job == "questions":
        settings = [word for key, value in judge.items() if key != "name" for word in ("--set", f"judge.{key}={value}")]
        return [
            "data",
            "questions",
            world.root,
            "--judge",
            server.address,
            *settings,
            "--out",
            folder / "with-questions",
        ]
    expert = {sample.id: sample.references[0] for sample in world}
    (folder / "expert.json").write_text(json.dumps(expert))
    if job == "score":
        own = ["--set", f"caprl.judge={json.dumps(judge)}", "--set", "caprl.mode=all-questions"]
        return ["score", folder / "expert.json", world.root, "--scorers", "caprl", *own, "--json", folder / "s.json"]
    casual = {sample.id: casual_captions(sample_scene(0, n))[0] for n, sample in enumerate(world)}
    (folder / "casual.json").write_text(json.dumps(casual))
    settings = [word for key, value in judge.items() if key != "name" for word in ("--set", f"judge.{key}={value}")]
    files = [folder / "expert.json", folder / "casual.json", world.root]
    return ["arena", *files, "--judge", server.address, *settings, "--out", folder / "battles.jsonl"]


@pytest.mark.slow
@pytest.mark.parametrize("job", ["score", "questions", "arena"])
def test_ten_kills_ask_again_only_what_was_under_way(job, tmp_path):
    world = open_dataset(build(30, 0, tmp_path / "world", size=24))
    answering = Sees(world) if job == "questions" else lambda body: lexical_reply(body["messages"])
    with ChatServer(answering, latency=0.02) as server:

        def run(folder):
            folder.mkdir(exist_ok=True)
            words = [sys.executable, "-m", "capwright", *map(str, command(job, server, folder, world))]
            return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

        with run(tmp_path / "whole") as process:
            assert process.wait() == 0, process.stderr.read()
        needed, draw = len(server.bodies), random.Random(job)
        server.bodies.clear()
        for moment in sorted(draw.sample(range(1, needed), KILLS)):
            with run(tmp_path / "broken") as process:
                while len(server.bodies) < moment and process.poll() is None:
                    time.sleep(0.002)
                process.send_signal(signal.SIGKILL)
        with run(tmp_path / "broken") as process:
            assert process.wait() == 0, process.stderr.read()
    asked = Counter(json.dumps(body, sort_keys=True) for body in server.bodies)
    assert len(asked) == needed
    assert asked.total() - needed <= KILLS * AT_ONCE
    assert max(asked.values()) <= KILLS + 1
