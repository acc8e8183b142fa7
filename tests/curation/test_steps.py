"""The seam of curation: what a step of one's own gets, what the journal remembers, and that counts add up."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
from pydantic import Field, PrivateAttr

from capwright import plugins
from capwright.curation import MakeQuestions, Step, StepDecision, Subset, make_step, run_steps
from capwright.curation.registry import find_step
from capwright.curation.runner import tally_lines
from capwright.data import open_dataset
from capwright.scenes import build
from capwright.types import DataError, OutageError, RecipeError, Sample
from exact_judges import Killed, scenes


class Verdict:
    """What an expensive judge would say of the length of the first reference; it can be killed, or down."""

    def __init__(self, kill_after=0, down=()):
        self.asked, self.kill_after, self.down = [], kill_after, down

    def __call__(self, sample):
        if self.kill_after and len(self.asked) >= self.kill_after:
            raise Killed
        self.asked.append(sample.id)
        return "down" if sample.id in self.down else len(sample.references[0])


class Short(Step):
    """Leaves out samples with long references, and says of the others how long they are."""

    name = "short"
    chunk = 4
    most: int = Field(140, ge=1)
    judge: object = None

    def decide(self, samples):
        found = []
        for sample in samples:
            length = self.judge(sample)
            if length == "down":
                found.append(StepDecision("timeout", "no answer"))
            else:
                found.append(StepDecision(drop="too long" if length > self.most else "", data={"length": length}))
        return found

    def apply(self, sample, decision):
        return replace(sample, meta={**sample.meta, "length": decision.data.get("length")})

    @property
    def settings(self):
        return {"version": self.version, "most": self.most}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return open_dataset(build(30, 0, tmp_path_factory.mktemp("world") / "world", size=24))


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def run(world, place, judge=None, **options):
    """The steps into `place`, with the journal beside it."""
    steps = [Short(judge=judge or Verdict(), **options), Subset(n=10, seed=1)]
    run_steps(steps, world, place, journal=place.with_suffix(".jsonl"))
    return steps


def rows(place):
    return [json.loads(line) for line in place.with_suffix(".jsonl").open()][1:]


def test_what_a_step_does_is_in_the_dataset_the_journal_and_the_card(world, tmp_path):
    steps = run(world, tmp_path / "out")
    kept = open_dataset(tmp_path / "out")
    order = [sample.id for sample in world]
    assert len(kept) == 10
    assert [sample.id for sample in kept] == sorted((sample.id for sample in kept), key=order.index)
    assert all(sample.meta["length"] == len(sample.references[0]) <= 140 for sample in kept)
    long = {sample.id for sample in world if len(sample.references[0]) > 140}
    assert 0 < len(long) < 20
    found = {(row["step"], row["id"]): row for row in rows(tmp_path / "out")}
    for sample in world:
        first = found["short", sample.id]
        assert (first["did"], first["drop"]) == (("dropped", "too long") if sample.id in long else ("changed", ""))
        second = found.get(("sample", sample.id))
        assert (second is None) == (sample.id in long)
        if second:
            assert second["did"] == ("kept" if sample.id in {each.id for each in kept} else "dropped")
    card = json.loads((tmp_path / "out" / "curation.json").read_text())
    assert card["data"] == world.fingerprint
    short, subset = card["steps"]
    assert (short["signature"], subset["signature"]) == ("short|most:140|v:1", "sample|n:10|seed:1|v:1")
    assert (short["in"], short["out"], short["changed"]) == (30, 30 - len(long), 30 - len(long))
    assert short["left_out"] == {"too long": len(long)}
    assert (subset["in"], subset["out"], subset["left_out"]) == (short["out"], 10, {"not drawn": short["out"] - 10})
    assert tally_lines(steps)[0] == f"short: {30 - len(long)} of 30 samples went on, {30 - len(long)} of them changed"


def test_killed_anywhere_it_goes_on_and_asks_nothing_twice(world, tmp_path):
    run(world, tmp_path / "whole")
    asked = []
    for _ in range(4):
        judge = Verdict(kill_after=9)
        try:
            run(world, tmp_path / "broken", judge)
        except Killed:
            assert not (tmp_path / "broken").exists()
        asked.append(judge.asked)
    kept = [each[: len(each) // 4 * 4] for each in asked[:3]]  # a chunk that is not whole is decided again
    assert len(asked[3]) == 6
    assert [*chain(*kept), *asked[3]] == [sample.id for sample in world]
    assert contents(tmp_path / "whole") == contents(tmp_path / "broken")
    assert (tmp_path / "whole.jsonl").read_bytes() == (tmp_path / "broken.jsonl").read_bytes()


def test_unknown_samples_stay_are_counted_and_are_tried_again(world, tmp_path):
    down = {world[2].id, world[7].id}
    steps = run(world, tmp_path / "one", Verdict(down=down), most=1000)
    assert steps[0].tally.unknown == {"timeout": 2}
    assert steps[0].tally.failures == [(id, "no answer") for id in sorted(down)]
    assert (steps[0].tally.samples, steps[0].tally.left, steps[1].tally.samples) == (30, 30, 30)
    assert "  2 unknown (status timeout)" in steps[0].tally.lines()
    assert {row["id"] for row in rows(tmp_path / "one") if row["did"] == "unknown"} == down
    (tmp_path / "one.jsonl").rename(tmp_path / "two.jsonl")
    judge = Verdict()
    steps = run(world, tmp_path / "two", judge, most=1000)
    assert set(judge.asked) == down
    assert (steps[0].tally.resumed, steps[0].tally.unknown.total()) == (28, 0)


def test_later_steps_decide_again_about_what_has_changed(world, tmp_path):
    """A name was unknown when the set was drawn; when it is known, the drawing is another one."""
    first = run(world, tmp_path / "one", Verdict(down={world[0].id}), most=120)
    (tmp_path / "one.jsonl").rename(tmp_path / "two.jsonl")
    second = run(world, tmp_path / "two", most=120)
    assert (first[1].tally.samples, second[1].tally.samples) == (first[0].tally.left, second[0].tally.left)
    assert second[0].tally.resumed == 29
    assert second[1].tally.resumed == 0, "the set is another one"
    fresh = run(world, tmp_path / "fresh", most=120)
    assert fresh[1].tally.samples == second[1].tally.samples
    assert contents(tmp_path / "fresh") == contents(tmp_path / "two")


def test_a_moved_dataset_goes_on(world, tmp_path):
    run(world, tmp_path / "one")
    world.root.rename(world.root.with_name("moved"))
    try:
        (tmp_path / "one.jsonl").rename(tmp_path / "two.jsonl")
        judge = Verdict()
        run(open_dataset(world.root.with_name("moved")), tmp_path / "two", judge)
        assert judge.asked == []
    finally:
        world.root.with_name("moved").rename(world.root)


def test_other_settings_are_refused(world, tmp_path):
    run(world, tmp_path / "one")
    (tmp_path / "one.jsonl").rename(tmp_path / "two.jsonl")
    with pytest.raises(DataError, match=r"two\.jsonl: was made with short\.most 140, not 70; use that again"):
        run(world, tmp_path / "two", most=70)
    steps, journal = [Short(judge=Verdict()), Subset(n=10, seed=1)], tmp_path / "two.jsonl"
    with pytest.raises(DataError, match=f"was made with data '{world.fingerprint}', not '{world.fingerprint} train'"):
        run_steps(steps, world, tmp_path / "two", journal=journal, data="train")
    with pytest.raises(DataError, match=r"was made with steps \['short', 'sample'\], not \['short'\]"):
        run_steps(steps[:1], world, tmp_path / "two", journal=journal)
    (tmp_path / "three.jsonl").write_text('{"journal": "questions", "settings": {}}\n')
    with pytest.raises(DataError, match="is not a journal of curation"):
        run(world, tmp_path / "three")
    (tmp_path / "four.jsonl").write_text((tmp_path / "two.jsonl").read_text().splitlines()[0] + '\n{"id": "1"}\n{}\n')
    with pytest.raises(DataError, match=r"four\.jsonl:2: is not a row of a journal"):
        run(world, tmp_path / "four")


def test_nothing_is_left(world, tmp_path):
    with pytest.raises(DataError, match="no sample is left:\nshort: 0 of 30 samples went on"):
        run(world, tmp_path / "one", most=1)
    assert not (tmp_path / "one").exists()


def test_an_outage_ends_the_job_and_loses_nothing(world, tmp_path):
    class Down(Verdict):
        def __call__(self, sample):
            if len(self.asked) == 8:
                raise OutageError("nobody there")
            return super().__call__(sample)

    with pytest.raises(OutageError):
        run(world, tmp_path / "one", Down())
    assert len([row for row in rows(tmp_path / "one") if row["step"] == "short"]) == 8


def test_the_same_step_twice(world, tmp_path):
    steps = [Short(judge=Verdict(), most=150), Short(judge=Verdict(), most=140)]
    run_steps(steps, world, tmp_path / "one", journal=tmp_path / "one.jsonl")
    assert {row["step"] for row in rows(tmp_path / "one")} == {"short", "short-2"}
    assert [step["step"] for step in json.loads((tmp_path / "one/curation.json").read_text())["steps"]] == [
        "short", "short-2",
    ]  # fmt: skip


def test_a_step_is_a_function_from_samples_to_samples():
    samples = scenes(6)
    step = Short(judge=Verdict(), most=1000)
    assert [sample.id for sample in step(iter(samples))] == [sample.id for sample in samples]
    assert samples == scenes(6), "what it was given is as it was"
    half = step(iter(samples))
    next(half)
    assert step.tally.samples == 1


def test_steps_by_name():
    assert find_step("questions") is MakeQuestions
    assert find_step(f"{__name__}:Short") is Short
    assert make_step("sample", {"n": 3}) == Subset(n=3)
    for name, says in (
        ("dedup", r"there is no step 'dedup'; did you mean 'deduplicate'\? \(steps: caption_filter, "),
        ("no.such:Step", "the step no.such:Step cannot be had: ModuleNotFoundError"),
        ("capwright.curation:Missing", "cannot be had: AttributeError"),
        ("capwright.curation:StepDecision", "is no step"),
    ):
        with pytest.raises(DataError, match=says):
            find_step(name)
        with pytest.raises(RecipeError, match=says):
            make_step(name, {})
    for options, says in (
        ({"nn": 3}, r"sample: nn: unknown key; did you mean 'n'\?"),
        ({"n": 0}, r"sample: n: Input should be greater than or equal to 1 \(got 0\)"),
        ({"n": "many"}, r"sample: n: .* \(got 'many'\)"),
    ):
        with pytest.raises(RecipeError, match=says):
            make_step("sample", options)


def test_a_decision_for_every_sample():
    class Forgets(Step):
        name = "forgets"
        _unused: int = PrivateAttr(0)

        def decide(self, samples):
            return [StepDecision()] * (len(samples) - 1)

    with pytest.raises(DataError, match=r"step forgets: decide\(\) must give a StepDecision for each sample"):
        list(Forgets()(scenes(3)))


def test_steps_that_are_none():
    """What a class of one's own does not have, or gives, is named."""

    @plugins.register("step", "idle")
    class Idle(Step):
        name = "idle"

    @plugins.register("step", "nameless")
    class Nameless(Step):
        def decide(self, samples):
            return [StepDecision() for _ in samples]

    for name in ("idle", "nameless"):
        with pytest.raises(DataError, match=f'"{name}" is no step: it needs `name` and `decide`'):
            find_step(name)
    one = Sample("a", Path("a.png"))
    for gives in (None, [], [True], [StepDecision(), StepDecision()]):
        with pytest.raises(DataError, match=r"step own: decide\(\) must give a StepDecision for each sample"):
            list(type("Own", (Nameless,), {"name": "own", "decide": lambda self, samples, gives=gives: gives})()([one]))
    with pytest.raises(DataError, match=r"step own: apply\(\) must give a Sample, not None"):
        list(type("Own", (Nameless,), {"name": "own", "apply": lambda self, sample, decision: None})()([one]))
