"""Two jobs on one output: the second is refused at once, is told who the first is, and changes nothing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from capwright.scenes import build

HOLD = (
    "import sys; from capwright.data.locks import only_one\n"
    "with only_one(sys.argv[1]): print('held', flush=True); sys.stdin.read()"
)


@pytest.fixture
def held():
    """held(place): from now on another process has it."""
    processes = []

    def hold(place):
        process = subprocess.Popen([sys.executable, "-c", HOLD, place], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdout.readline()
        processes.append(process)
        return process

    yield hold
    for process in processes:
        process.communicate()


@pytest.fixture
def toys(tmp_path):
    return build(10, 1, tmp_path / "toys", size=32)


@pytest.fixture
def commands(tmp_path, toys, llava, short):
    """Every command that goes on with what it finds: its words, and what it writes."""
    for system in "ab":
        rows = [{"id": f"scene-{n:08}", "caption": f"toy {system}"} for n in range(10)]
        (tmp_path / f"{system}.json").write_text(json.dumps(rows))
    (tmp_path / "demo").mkdir()
    (tmp_path / "run").mkdir()
    recipe = tmp_path / "curate.yaml"
    recipe.write_text(f"name: c\ndata: {{path: {toys}}}\nout: {tmp_path}/better\nsteps: [{{name: deduplicate}}]\n")
    model = f"model.name={llava}"
    train = ["train", "rsrs-scenes", model, f"data.path={toys}", *short, "--out", tmp_path / "run"]
    systems, battles = [tmp_path / "a.json", tmp_path / "b.json"], tmp_path / "battles.jsonl"
    arena = ["arena", *systems, toys, "--judge", "lexical", "--out", battles]
    asked = ["data", "questions", toys, "--judge", "lexical", "--out", tmp_path / "asked"]
    return {
        "caption": (["caption", toys, "--model", llava, "--out", tmp_path / "c.jsonl"], tmp_path / "c.jsonl"),
        "train": (train, tmp_path / "run"),
        "demo": (["demo", model, "data.scenes.n=20", *short, "--out", tmp_path / "demo"], tmp_path / "demo"),
        "arena": (arena, battles),
        "questions": (asked, tmp_path / "asked.questions.jsonl"),
        "curate": (["curate", recipe], tmp_path / "better.journal.jsonl"),
    }


@pytest.mark.parametrize("name", ["caption", "train", "demo", "arena", "questions", "curate"])
def test_the_second_is_refused(name, cli, commands, held, tmp_path):
    command, place = commands[name]
    first = held(place)
    before = files(tmp_path)
    said = cli(*command)
    assert said.code == 1
    assert f"error: {place}: another job is writing it, process {first.pid} (since " in said.err
    assert files(tmp_path) == before


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
