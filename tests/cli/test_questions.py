"""`capwright data questions`: from a dataset to a dataset with questions, and what it says."""

from __future__ import annotations

import json

import pytest

from capwright.data import open_dataset
from capwright.scenes import build


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return build(12, 0, tmp_path_factory.mktemp("world") / "world", size=24)


def test_questions_for_the_built_in_world(cli, world, tmp_path):
    out = tmp_path / "asked"
    said = cli("data", "questions", world, "--out", out, "--judge", "lexical", "--per-image", 3, "--seed", 5)
    assert (said.code, said.out) == (0, "36 of 36 questions kept, 12 samples\n")
    assert "asked.questions.jsonl" in said.err
    made = open_dataset(out)
    assert [sample.id for sample in made] == [sample.id for sample in open_dataset(world)]
    assert all(len(sample.questions) == 3 for sample in made)
    assert made[0].meta["questions_provenance"]["seed"] == 5
    assert cli("data", "check", out).code == 0
    rows = [json.loads(line) for line in (tmp_path / "asked.questions.jsonl").open()]
    assert [row["id"] for row in rows[1:]] == [sample.id for sample in made]
    assert "already exists" in cli("data", "questions", world, "--out", out, "--judge", "lexical").err


def test_own_questions_of_a_split(cli, world, tmp_path):
    out = tmp_path / "own"
    said = cli("data", "questions", world, "--out", out, "--judge", "lexical", "--writer", "dataset", "--split", "val")
    assert said.code == 0
    assert [sample.questions for sample in open_dataset(out)] == [
        sample.questions for sample in open_dataset(world, "val")
    ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--judge", "lexical", "--writer", "lexical"], "cannot write questions; use --writer facts or dataset"),
        (["--judge", "lexical", "--rotations", "5"], "rotations must be 1 to 4"),
        (["--judge", "lexical", "--blind-rule", "mine"], 'blind rule "mine" is not one of caprl, captionqa'),
        (["--judge", "lexical", "--evidence", "smell"], 'evidence "smell" is not one of image, references'),
        (["--judge", "lexical", "--evidence", "image"], "cannot see"),
        (["--judge", "lexical", "--set", "reader.model=x"], "is for the judge, writer or blind"),
        (["--judge", "lexical", "--set", "writer.model=x"], "name one with --writer"),
        (["--judge", "lexical", "--set", "blind.model=x"], "name one with --blind-judge"),
        (["--judge", "nobody"], "nobody"),
        (["--judge", "lexical", "--split", "none"], 'there is no split "none"'),
    ],
)
def test_what_can_not_be_done(cli, world, tmp_path, arguments, says):
    said = cli("data", "questions", world, "--out", tmp_path / "out", *arguments)
    assert said.code == 1
    assert says in said.err
    assert not (tmp_path / "out").exists()
