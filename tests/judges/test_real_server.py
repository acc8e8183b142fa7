"""Judges against a real server with a real, small model: the machinery, never how good its answers are."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from capwright.data import open_dataset
from capwright.judges.client import Chat, ChatError, ChatRequest, Message
from capwright.judges.load import load_judge
from capwright.scenes import build
from capwright.types import Status
from llama_server import MISSING, LlamaServer, ready

# A score takes half a minute, and several where other work has the cores.
pytestmark = [pytest.mark.llm, pytest.mark.timeout(1200), pytest.mark.skipif(not ready(), reason=MISSING)]

SAID = ["A geoboard with red bands lies on the table.", "a child", "Blocks blocks blocks in in a tower"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with LlamaServer(tmp_path_factory.mktemp("server") / "log") as one:
        yield one


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return open_dataset(build(8, 0, tmp_path_factory.mktemp("world") / "world", size=24))


@pytest.fixture(scope="module")
def said(world, tmp_path_factory):
    path = tmp_path_factory.mktemp("said") / "said.json"
    path.write_text(json.dumps({sample.id: sample.references[0] for sample in world}))
    return path


def chat(server, **options):
    return Chat(server.address, **{"cache": None, "concurrency": 2, "retries": 0, **options})


def score(world, said, server, folder, *more, **options):
    """The command that scores captions by questions, which keeps its answers in a folder."""
    judge = json.dumps({"name": server.address, "concurrency": 2, "letters": "schema", **options})
    command = [sys.executable, "-m", "capwright", "score", said, world.root, "--scorers", "caprl,language"]
    command += [
        "--set",
        f"caprl.judge={judge}",
        "--set",
        "caprl.mode=all-questions",
        "--set",
        f"language.judge={judge}",
    ]
    return [*map(str, command), "--json", str(folder / "scores.json"), *more], {"CAPWRIGHT_CACHE": str(folder)}


def run(command, environment, **how):
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, **how)


def test_schemas_are_kept_to(server):
    with chat(server) as one:
        judge = load_judge({"name": server.address, "cache": None, "concurrency": 2})
        grades = judge.grade(["clarity", "fluency"], SAID)
        assert [grade.status for grade in grades] == [Status.OK] * len(SAID)
        schema = {"type": "object", "properties": {"red": {"type": "boolean"}}, "required": ["red"]}
        (answer,) = one.ask([ChatRequest((Message("user", "Is a red ball red?"),), max_tokens=40, schema=schema)])
        assert answer.status == Status.OK
        assert isinstance(answer.data["red"], bool)


def test_probabilities_come_with_choices(server):
    with chat(server) as one:
        ask = ChatRequest((Message("user", "Say A or B, one letter only."),), max_tokens=4, choices=("A", "B"))
        (answer,) = one.ask([ask])
    assert answer.probabilities is not None
    assert sum(answer.probabilities) == pytest.approx(1)


@pytest.fixture(scope="module")
def whole(server, world, said, tmp_path_factory):
    """The folder of a score that ran through, and how many calls that took."""
    folder, before = tmp_path_factory.mktemp("whole"), server.calls()
    done = run(*score(world, said, server, folder))
    assert done.returncode == 0, done.stderr
    return folder, server.calls() - before


def test_with_a_schema_of_letters_every_answer_is_read_and_kept(server, world, said, whole):
    """The second time nobody is asked, and every number is the same."""
    folder, needed = whole
    scores = json.loads((folder / "scores.json").read_text())["systems"]["said"]
    assert scores["unknown_by"]["caprl"] == {}
    assert scores["scores"]["caprl.unanswered"]["value"] == 0
    assert needed > 30
    calls = server.calls()
    again = run(*score(world, said, server, folder))
    assert again.returncode == 0, again.stderr
    assert server.calls() == calls
    assert json.loads((folder / "scores.json").read_text())["systems"]["said"]["scores"] == scores["scores"]


def test_a_killed_score_asks_again_only_what_was_under_way(server, world, said, whole, tmp_path):
    needed = whole[1]
    command, environment = score(world, said, server, tmp_path)
    start = server.calls()
    for share in (0.2, 0.6):
        with subprocess.Popen(command, env={**os.environ, **environment}, stderr=subprocess.DEVNULL) as process:
            while server.calls() - start < share * needed and process.poll() is None:
                time.sleep(0.02)
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
    assert run(command, environment).returncode == 0
    assert needed <= server.calls() - start <= needed + 2 * 2
    scores = json.loads((tmp_path / "scores.json").read_text())["systems"]["said"]
    assert scores["scores"]["caprl.unanswered"]["value"] == 0


def test_a_wrong_key_is_an_error_at_once(world, said, tmp_path):
    with LlamaServer(tmp_path / "log", key="sesame") as guarded:
        command, environment = score(world, said, guarded, tmp_path)
        refused = run(command, environment | {"OPENAI_API_KEY": "wrong"})
        assert refused.returncode == 1
        assert "OPENAI_API_KEY" in refused.stderr
        assert "wrong" not in refused.stderr
        assert "Traceback" not in refused.stderr
        with pytest.raises(ChatError), chat(guarded, key_variable="NO_SUCH_KEY") as one:
            one.ask([ChatRequest((Message("user", "Hello"),))])


def test_what_is_too_long_says_which_limit_it_was(server, tmp_path):
    with LlamaServer(tmp_path / "log", context=256) as small, chat(small) as one:
        asked = [ChatRequest((Message("user", "red ball " * 400),), max_tokens=20)]
        asked += [ChatRequest((Message("user", "Count from one to a thousand, in words."),), max_tokens=2000)]
        too_long, cut = one.ask(asked)
    assert too_long.status != Status.OK
    assert "context" in too_long.reason
    assert cut.status == Status.TRUNCATED
    assert "context" in cut.reason
    with chat(server) as one:
        (short,) = one.ask([ChatRequest((Message("user", "Count from one to a thousand, in words."),), max_tokens=5)])
    assert short.status == Status.TRUNCATED
    assert "max_tokens" in short.reason


def test_a_step_of_training_by_its_answers(server, tmp_path):
    judge = json.dumps({"name": server.address, "concurrency": 2, "letters": "schema", "cache": str(tmp_path / "kept")})
    few = [
        "data.scenes.n=40", "data.scenes.size=24", "data.eval_split=val", "stages.warmup.steps=1",
        "stages.warmup.images_per_step=4", "stages.caprl.steps=1", "stages.caprl.images_per_step=2",
        "stages.caprl.captions_per_image=2", "stages.caprl.sampling.max_tokens=12", "stages.caprl.eval_every=null",
        "evaluation.scorers=[length]", "evaluation.options={}", "evaluation.sampling.max_tokens=8",
        f"rewards.caprl.options.judge={judge}",
    ]  # fmt: skip
    out = tmp_path / "run"
    done = run([sys.executable, "-m", "capwright", "train", "caprl-scenes", *few, "--out", str(out)], {})
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    (row,) = [row for row in rows if row["stage"] == "caprl" and row["kind"] == "step"]
    assert row["groups"]["unknown"] == 0
