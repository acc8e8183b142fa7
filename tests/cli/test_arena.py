"""capwright arena, judged by the reader of the built-in kindergarten."""

from __future__ import annotations

import json

import pytest

from capwright.judges.protocols import Preference

REFERENCES = {
    "1": "Three children are on the playground, one standing and two jumping. A pink hobby horse is on the left.",
    "2": "Two children are in the sandpit. A red tricycle is on the right.",
    "3": "One child is at the snack table. A green kick scooter is in the middle.",
}
WRONG = {
    "1": "Four children are on the playground. A blue hobby horse is on the right.",
    "2": "A red ride-on toy is on the right.",
    "3": "One child is in the sandpit.",
}


@pytest.fixture
def files(tmp_path):
    """Captions of the systems good, half and wrong; references.json."""
    half = {id: text.partition(". ")[0] + "." for id, text in REFERENCES.items()}
    for name, said in (("good", REFERENCES), ("half", half), ("wrong", WRONG)):
        rows = [json.dumps({"id": id, "caption": text}) + "\n" for id, text in said.items()]
        (tmp_path / f"{name}.jsonl").write_text("".join(rows), encoding="utf-8")
    (tmp_path / "references.json").write_text(json.dumps({i: [t] for i, t in REFERENCES.items()}), encoding="utf-8")
    return tmp_path


def arena(cli, files, *names, more=()):
    paths = [files / f"{name}.jsonl" for name in names]
    return cli("arena", *paths, files / "references.json", "--judge", "lexical", "--bootstrap", 50, *more)


def test_the_best_system_stands_first(cli, files):
    said = arena(cli, files, "wrong", "good", "half", more=["--json", files / "board.json"])
    assert said.code == 0, said.err
    board = json.loads((files / "board.json").read_text(encoding="utf-8"))
    assert [s["name"] for s in board["standings"]] == ["good", "half", "wrong"]
    assert board["standings"][0]["win_rate"]["value"] == 1
    assert board["first_place"]["value"] == 0.5
    assert board["agreement"]["value"] == 1
    assert board["verdicts"] == 18
    assert board["signature"] in said.out
    lines = [line.split()[0] for line in said.out.splitlines() if line.split() and "1.000" in line]
    assert lines[0] == "good"
    assert "good against half: won 1.000 (1.000 to 1.000) of 3" in said.out
    assert "the judge: the same verdict in both orders: 1.000" in said.out


def test_the_same_command_twice_asks_once(cli, files, monkeypatch):
    out = files / "battles.jsonl"
    first = arena(cli, files, "good", "half", more=["--out", out, "--repeats", 2, "--json", files / "1.json"])
    assert first.code == 0, first.err
    assert "± judge" in first.out
    assert len(out.read_text(encoding="utf-8").splitlines()) == 12
    monkeypatch.setattr("capwright.scenes.lexical_judge.LexicalJudge.compare", None)
    again = arena(cli, files, "good", "half", more=["--out", out, "--repeats", 2, "--json", files / "2.json"])
    assert again.code == 1  # nobody who could be asked
    assert "cannot compare" in again.err
    monkeypatch.setattr("capwright.scenes.lexical_judge.LexicalJudge.compare", lambda *_, **__: 1 / 0)
    again = arena(cli, files, "good", "half", more=["--out", out, "--repeats", 2, "--json", files / "2.json"])
    assert again.out == first.out
    assert (files / "1.json").read_bytes() == (files / "2.json").read_bytes()


def test_a_judge_that_is_down_leaves_everything_unknown(cli, files, monkeypatch):
    def down(self, asked, *, seed=0):
        return [Preference(None, "judge_error", "down") for _ in asked]

    monkeypatch.setattr("capwright.scenes.lexical_judge.LexicalJudge.compare", down)
    said = arena(cli, files, "good", "half", more=["--json", files / "board.json"])
    assert said.code == 0
    assert "6 of 6 verdicts are unknown, and 3 battles with them" in said.err
    assert "unknown: 6 (6 judge_error)" in said.out
    board = json.loads((files / "board.json").read_text(encoding="utf-8"))
    assert [s["rating"]["value"] for s in board["standings"]] == [None, None]


@pytest.mark.parametrize(
    ("names", "more", "says"),
    [
        (["good"], [], "at least two files of captions"),
        (["good", "half"], ["--set", "reader.model=x"], "--set reader...: is for the judge"),
        (["good", "half"], ["--orders", "one"], "orders must be both or paper"),
        (["good", "half"], ["--no-reference"], "could look at"),
        (["good", "gone"], [], "gone.jsonl"),
    ],
)
def test_what_does_not_work_is_said(cli, files, names, more, says):
    said = arena(cli, files, *names, more=more)
    assert said.code == 1
    assert says in said.err
