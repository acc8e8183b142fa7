"""Scores that could not be had end a command with an error, after everything that is known was said."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def files(tmp_path):
    """Ten captions, and a scorer that knows the length of the first so many."""
    (tmp_path / "said.json").write_text(json.dumps([{"id": f"{n}", "caption": "a drum"} for n in range(10)]))
    (tmp_path / "refs.json").write_text(json.dumps([{"id": f"{n}", "references": ["a red drum"]} for n in range(10)]))
    (tmp_path / "own.py").write_text(
        "def some(caption, sample, known=0):\n    return len(caption) if int(sample.id) < known else None\n"
    )
    return tmp_path


def score(cli, files, known, *more, command="score"):
    systems = [files / "said.json"] * (2 if command == "compare" else 1)
    some = f"{files}/own.py:some"
    given = ["--scorers", f"{some},length", "--set", f"{some}.known={known}", "--json", files / "out.json", *more]
    return cli(command, *systems, files / "refs.json", *given)


@pytest.mark.parametrize("command", ["score", "compare"])
def test_what_could_not_be_measured_at_all_is_an_error(command, cli, files):
    said = score(cli, files, 0, command=command)
    assert said.code == 1
    assert "some could not measure 10 of 10 captions (10 unparseable)" in said.err
    assert "length" in said.out
    assert json.loads((files / "out.json").read_text())["systems"]


def test_a_part_is_an_error_where_that_was_asked_for(cli, files):
    assert score(cli, files, 8).code == 0
    assert score(cli, files, 8, "--max-unknown", 0.2).code == 0
    said = score(cli, files, 7, "--max-unknown", 0.2)
    assert said.code == 1
    assert "some could not measure 3 of 10 captions (3 unparseable); --max-unknown is 0.2" in said.err
    assert score(cli, files, 10, "--max-unknown", 0).code == 0
    assert score(cli, files, 9, "--max-unknown", 0).code == 1


def test_captions_that_are_unknown_themselves_are_nothing_that_a_scorer_failed_at(cli, files):
    rows = [{"id": f"{n}", "caption": "", "status": "missing_image"} for n in range(10)]
    (files / "said.json").write_text(json.dumps([{**rows[0], "caption": "a drum", "status": "ok"}, *rows[1:]]))
    assert score(cli, files, 1, "--max-unknown", 0).code == 0
