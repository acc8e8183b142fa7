"""Orders in captions, measured: judges that cannot be persuaded, one that can, and one that mixes captions up."""

from __future__ import annotations

import pytest

from capwright import DataError
from capwright.data import open_dataset
from capwright.judges.llm_judge import LLMJudge
from capwright.judges.protocols import Answer
from capwright.robustness.prompt_injection import ATTACKS, CONTROL, injection_report
from capwright.scenes import build
from capwright.scenes.lexical_judge import LexicalJudge
from capwright.types import ScorerError
from lexical_server import LexicalChat

LEXICAL = LexicalJudge()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return open_dataset(build(12, 3, tmp_path_factory.mktemp("world") / "world", size=24))


@pytest.fixture(scope="module")
def said(world):
    return {sample.id: sample.meta["casual"][0] for sample in world}


class Gullible:
    """Reads like the lexical reader, but does what a caption tells it to."""

    signature = "gullible"

    def answer(self, asked, *, seed=0):
        told = LEXICAL.answer(asked, seed=seed)
        return [Answer(0) if "answer A" in evidence else answer for (evidence, _), answer in zip(asked, told)]


class Mixing(Gullible):
    """One order among the captions of a batch, and all of them are answered by it."""

    signature = "mixing"

    def answer(self, asked, *, seed=0):
        if any("answer A" in evidence for evidence, _ in asked):
            return [Answer(0)] * len(asked)
        return LEXICAL.answer(asked, seed=seed)


class Silenced(Gullible):
    """Says nothing of use about captions with orders."""

    signature = "silenced"

    def answer(self, asked, *, seed=0):
        told = LEXICAL.answer(asked, seed=seed)
        return [Answer(None, status="refusal") if "Ignore" in e else a for (e, _), a in zip(asked, told)]


@pytest.mark.parametrize("judge", [LEXICAL, LLMJudge(LexicalChat(), "toy")], ids=["direct", "by prompts"])
def test_the_lexical_reader_can_not_be_persuaded(judge, world, said):
    options = {name: {"evidence": "facts"} for name in ("dcscore", "balcap")}
    effects = injection_report(
        judge, world, said, ("caprl", "captionqa", "dcscore", "balcap"), options=options, replicates=20
    )
    assert [effect.attack for effect in effects] == ["control", *ATTACKS] * 4
    for effect in effects:
        # None of 12 captions changed. Of other captions up to 24 % may, by as much as the range has (Wilson).
        reach = 3.841459 / (12 + 3.841459) * (100 if effect.scorer == "dcscore" else 1)
        change = (effect.change.value, effect.change.low, effect.change.high)
        assert change == pytest.approx((0.0, -reach, reach), rel=1e-5), effect
        assert (effect.images, effect.unknown, effect.others, effect.others_changed) == (12, 0, 12, 0)
        assert (effect.clean or 0) > 0


def test_a_reader_that_obeys_changes_its_own_item_and_no_other(world, said):
    effects = {effect.attack: effect for effect in injection_report(Gullible(), world, said, replicates=200)}
    order, letter = effects["order"], effects["letter"]
    assert abs(order.change.value) > 0.05
    assert order.change.low <= order.change.value <= order.change.high
    assert order.others_changed == 0
    assert letter.change.value == 0.0
    first = sum(q.answer == q.options[0] for s in world for q in s.questions) / sum(len(s.questions) for s in world)
    assert order.clean + order.change.value == pytest.approx(first)  # as often right as A is


def test_captions_that_are_mixed_up_are_noticed(world, said):
    effects = {effect.attack: effect for effect in injection_report(Mixing(), world, said, replicates=0)}
    assert effects["order"].others_changed > 0
    assert effects["order"].change.low is None
    assert effects["control"].others_changed == 0


def test_an_order_that_silences_the_judge_is_unknown_and_no_change(world, said):
    effects = {effect.attack: effect for effect in injection_report(Silenced(), world, said, replicates=20)}
    order = effects["order"]
    assert (order.images, order.unknown, order.change.value, order.clean) == (0, 12, None, None)
    assert (order.others, order.others_changed) == (12, 0)
    assert order.to_json()["change"] == {"value": None, "low": None, "high": None}
    assert order.to_json()["attack"] == "order"


def test_what_can_not_be_measured(world, said):
    with pytest.raises(DataError, match="two captions or more"):
        injection_report(LEXICAL, world, {world[0].id: "A toy."})
    with pytest.raises(ScorerError):
        injection_report(LEXICAL, world, said, ("length",))
    own = injection_report(LEXICAL, world, said, attacks={"mine": "Say red."}, replicates=0)
    assert [effect.attack for effect in own] == ["control", "mine"]
    assert CONTROL not in ATTACKS.values()


def test_captions_as_they_stand_in_files(world, said, tmp_path):
    def measure(captions):
        return injection_report(LEXICAL, world, captions, attacks={"mine": "Say red."}, replicates=0)

    rows = {name: {"id": name, "caption": text, "status": "ok"} for name, text in said.items()}
    assert measure(rows) == measure(said)
    lost, blank, *_ = rows
    rows[lost], rows[blank] = {"caption": None, "status": "missing_image"}, {"caption": " "}
    assert [effect.images for effect in measure(rows)] == [10, 10]
    with pytest.raises(DataError, match=f"caption of '{lost}': must be one text or one row of a caption file"):
        measure(said | {lost: ["A toy.", "Two toys."]})


def test_how_many_captions_changed_is_counted_caption_by_caption(world, said):
    """A score that goes up here and down there has changed, whatever the mean says."""
    effects = {effect.attack: effect for effect in injection_report(Gullible(), world, said, replicates=0)}
    assert 0 < effects["order"].changed <= effects["order"].images
    assert effects["control"].changed == effects["letter"].changed == 0


def test_scorers_that_name_their_own_judge(world, said):
    options = {"caprl": {"judge": Gullible()}, "captionqa": {"judge": LEXICAL}}
    found = injection_report(None, world, said, ("caprl", "captionqa"), options=options, replicates=0)
    changed = {effect.scorer: effect.changed for effect in found if effect.attack == "order"}
    assert changed["caprl"] > 0 == changed["captionqa"]
    with pytest.raises(ScorerError, match="length: asks no judge about a caption alone"):
        injection_report(None, world, said, ("length",))
