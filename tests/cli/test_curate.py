"""`capwright curate`: a recipe to a dataset, what it says, what it would cost, and going on."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import ClassVar

import pytest

from capwright.curation import MakeQuestions, Subset, load_curation
from capwright.data import open_dataset, write_dataset
from capwright.recipes import list_recipes
from capwright.scenes import build
from capwright.types import RecipeError
from chat_server import ChatServer
from lexical_server import lexical_reply

SMALL = ["data.scenes.n=40", "data.scenes.size=32", "steps.sample.per_term=3"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return open_dataset(build(12, 0, tmp_path_factory.mktemp("world") / "world", size=24))


@pytest.fixture
def recipe(tmp_path, world):
    def write(*steps, **keys):
        path = tmp_path / "mine.yaml"
        known = {"name": "mine", "data": {"path": str(world.root)}, "out": str(tmp_path / "out"), "steps": list(steps)}
        path.write_text(json.dumps(known | keys))
        return path

    return write


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_recipe_that_comes_along(cli, tmp_path):
    """The same seed gives the same files; every sample is accounted for in the journal and on the card."""
    assert set(list_recipes("curation")) == {"scenes"}
    for name in ("one", "two"):
        said = cli("curate", "scenes", *SMALL, "--out", tmp_path / name)
        assert said.code == 0, said.err
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert (tmp_path / "one.journal.jsonl").read_bytes() == (tmp_path / "two.journal.jsonl").read_bytes()
    made = open_dataset(tmp_path / "one")
    card = json.loads((tmp_path / "one" / "curation.json").read_text())
    header, *rows = map(json.loads, (tmp_path / "one.journal.jsonl").open())
    assert header["settings"]["steps"] == ["deduplicate", "caption_filter", "sample", "questions"]
    came = 40
    for step in card["steps"]:
        mine = [row for row in rows if row["step"] == step["step"]]
        dropped = [row for row in mine if row["did"] == "dropped"]
        assert (len(mine), len({row["id"] for row in mine})) == (came, came) == (step["in"], came)
        assert (len(dropped), step["in"] - step["out"]) == (sum(step["left_out"].values()),) * 2
        assert sum(row["did"] == "changed" for row in mine) == step["changed"]
        came = step["out"]
    assert len(made) == came < 40
    assert all(sample.questions and sample.references for sample in made)
    assert [line.partition(":")[0] for line in said.out.splitlines() if line[0] != " "] == header["settings"]["steps"]
    assert cli("data", "check", tmp_path / "one").code == 0
    assert "already exists" in cli("curate", "scenes", *SMALL, "--out", tmp_path / "one").err


def test_data_of_ones_own_and_a_split(cli, recipe, world, tmp_path):
    path = recipe({"name": "sample", "n": 5}, data={"path": str(world.root), "split": "train"})
    assert cli("curate", path, "seed=3", "steps.sample.n=4").code == 0
    made = open_dataset(tmp_path / "out")
    expected = list(Subset(n=4, seed=3)(world.split("train")))
    assert [sample.id for sample in made] == [sample.id for sample in expected]
    assert made.vocabulary == world.vocabulary
    told = cli("curate", path, "seed=4", "--out", tmp_path / "other")
    assert told.code == 0
    (tmp_path / "other.journal.jsonl").rename(tmp_path / "third.journal.jsonl")
    told = cli("curate", path, "seed=5", "--out", tmp_path / "third")
    assert (told.code, "was made with sample.seed 4, not 5" in told.err) == (1, True)


class Stops(MakeQuestions):
    """Questions, stopped with Ctrl-C at the second chunk of five."""

    chunk = 5
    decided: ClassVar[list[int]] = []

    def decide(self, samples):
        self.decided.append(len(samples))
        if len(self.decided) == 2:
            raise KeyboardInterrupt
        return super().decide(samples)


def test_stopped_it_goes_on(cli, recipe, tmp_path):
    """With a step of one's own, named by its place."""
    path = recipe({"name": f"{__name__}:Stops", "judge": "lexical"})
    said = cli("curate", path)
    assert (said.code, "stopped; the same command goes on" in said.err) == (130, True)
    assert not (tmp_path / "out").exists()
    assert cli("curate", path).code == 0
    assert Stops.decided == [5, 5, 5, 2], "the first five are known"
    assert all(sample.questions for sample in open_dataset(tmp_path / "out"))


def test_images_that_cannot_be_read(cli, recipe, world, tmp_path):
    samples = [replace(sample, id=f"{sample.id}-{n}") for sample in world for n in (0, 1)]
    own = write_dataset(samples, tmp_path / "own", world.vocabulary)
    (own / "images" / world[3].image.name).write_bytes(b"none")
    said = cli("curate", recipe({"name": "deduplicate"}, data={"path": str(own)}))
    assert said.out.splitlines()[:3] == [
        "deduplicate: 13 of 24 samples went on, 0 of them changed",
        "  11 left out: the same image",
        "  2 unknown (status missing_image)",
    ]
    assert "what is unknown is tried again" in said.err


def asked(out):
    return int(re.search(r": ([\d,]+) calls, ", out)[1].replace(",", ""))


def test_costs_are_said_before_the_first_call(cli, recipe, tmp_path):
    with ChatServer(lambda body: lexical_reply(body["messages"])) as server:
        judge = {"name": server.address, "model": "toy", "cache": None}
        measured = {"name": "caption_filter", "scorer": "caprl", "options": {"mode": "all-questions"}, "at_least": 0.5}
        path = recipe(measured, judge=judge)
        told = cli("curate", path, "--dry-run")
        assert told.code == 0, told.err
        assert server.bodies == []
        assert "caption_filter|scorer:caprl" in told.out
        calls = asked(told.out)
        assert cli("curate", path, f"out={tmp_path}/measured").code == 0
        assert len(server.bodies) == calls > 12
        server.bodies.clear()
        path = recipe({"name": "questions", "writer": "facts", "evidence": "references", "per_image": 3}, judge=judge)
        told = cli("curate", path, "--dry-run")
        assert server.bodies == []
        assert asked(told.out) == 12 * 3 * 4 * 2
        assert cli("curate", path).code == 0
        assert len(server.bodies) == 12 * 3 * 4 * 2
        written = recipe({"name": "questions", "evidence": "references", "per_image": 3}, judge=judge)
        assert asked(cli("curate", written, "--dry-run").out) == 12 * (1 + 3 * 4 * 2)
    assert not list(tmp_path.glob("x*"))
    told = cli("curate", "scenes", *SMALL, "--out", tmp_path / "x", "--dry-run")
    assert "no step asks a server or a model, so nothing would be paid" in told.out
    assert not list(tmp_path.glob("x*"))


@pytest.mark.parametrize(
    ("steps", "keys", "overrides", "says"),
    [
        ([{"name": "dedup"}], {}, [], r"mine\.yaml: steps\.dedup: there is no step 'dedup'; did you mean 'deduplic"),
        ([{"name": "deduplicate", "caption": 1}], {}, [], r"mine\.yaml: steps\.deduplicate: caption: unknown key; d"),
        ([{"name": "sample"}], {}, ["steps.sample.m=1"], r"override 'steps\.sample\.m=1': m: unknown key; known"),
        ([{"name": "sample", "n": 0}], {}, [], r"steps\.sample: n: Input should be greater than or equal to 1"),
        ([{"name": "questions", "seen": 2}], {"judge": "lexical"}, [], r"steps\.questions: seen must be at least 0"),
        ([{"name": "questions"}], {}, [], r"mine\.yaml: steps\.questions: judge: Field required"),
        ([{"n": 3}], {}, [], r"steps\.0\.name: Field required"),
        ([], {}, [], r"mine\.yaml: steps: List should have at least 1 item"),
        ([{"name": "sample"}], {"data": {}}, [], r"data: give either data\.path .* or data\.scenes"),
        ([{"name": "sample"}], {"sead": 1}, [], r"sead: unknown key; did you mean 'seed'\?"),
        ([{"name": "sample"}], {"data": {"path": "/no/where"}}, [], "/no/where: does not exist"),
        ([{"name": "caption_filter", "scorer": "tts"}], {}, [], r"steps\.caption_filter: give at_least"),
        (
            [{"name": "caption_filter", "scorer": "tt", "at_least": 1}], {}, [],
            r"mine\.yaml: steps\.caption_filter: there is no scorer 'tt'; did you mean 'tts'",
        ),
    ],
)  # fmt: skip
def test_mistakes_are_told(cli, recipe, tmp_path, steps, keys, overrides, says):
    said = cli("curate", recipe(*steps, **keys), *overrides)
    assert said.code == 1
    assert re.search(says, said.err), said.err
    assert not (tmp_path / "out").exists()


def test_recipes_by_name():
    with pytest.raises(RecipeError, match=r"recipe 'scene': no such file or name\. Did you mean 'scenes'\?"):
        load_curation("scene")
    plan, steps = load_curation("scenes", ["judge=null", "steps.questions.judge=lexical", "data.path=toys"])
    assert (plan.data.path, plan.data.scenes) == ("toys", None)
    assert [step.name for step in steps] == ["deduplicate", "caption_filter", "sample", "questions"]
