"""What could not be measured is counted, and why is told in the judge's words."""

from __future__ import annotations

import copy
import json

import pytest

from capwright.data import open_dataset
from capwright.evaluation import evaluate
from capwright.judges.client.messages import ChatAnswer
from capwright.judges.llm_judge import LLMJudge
from capwright.judges.protocols import StatusWithReason, reason_of
from capwright.scenes import build
from capwright.scorers import get_scorer
from capwright.types import Status
from lexical_server import LexicalChat

SLOW = "no answer\nwithin 3 s"
OPTIONS = {
    "balcap": {"evidence": "facts"},
    "caparena": {"opponents": {}},
    "captionqa": {},
    "caprl": {},
    "cccaption": {"evidence": "facts"},
    "claimdiff": {"evidence": "facts"},
    "dcscore": {"evidence": "facts"},
    "dnli": {"evidence": "facts"},
    "language": {},
    "openchair": {"evidence": "facts"},
    "prism": {},
    "tts-extracted": {"evidence": "facts"},
    "vdcscore": {},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return open_dataset(build(5, 0, tmp_path_factory.mktemp("world") / "world", size=24))


def measure(name, world, spoil):
    said = {sample.id: sample.meta["casual"][0] for sample in world}
    options = {"opponents": {"expert": {s.id: s.references[0] for s in world}}} if name == "caparena" else OPTIONS[name]
    scorer = get_scorer(name, judge=LLMJudge(LexicalChat(spoil), "toy"), **options)
    return evaluate(world, said, [scorer], replicates=0)


@pytest.mark.parametrize("name", OPTIONS)
def test_every_scorer_that_asks_passes_the_reason_on(name, world):
    evaluation = measure(name, world, lambda request, text: ChatAnswer("timeout", reason=SLOW))
    [reason] = evaluation.scores[name].reasons()
    assert reason == {"reason": "no answer within 3 s", "images": 5, "example": world[0].id}
    shown = evaluation.to_json()
    assert shown["unknown_why"] == {name: [reason]}
    assert set(shown["unknown_by"][name]) == {"timeout"}
    json.dumps(shown)


def test_replies_of_no_use_say_how_they_begin(world):
    replies = iter(range(10**6))

    def mumble(request, text):
        return ChatAnswer("ok", f"Hard to say,\nreally {next(replies)}.") if request.choices else None

    [reason] = measure("caprl", world, mumble).scores["caprl"].reasons()
    assert reason["reason"] == "the answer chooses no option: Hard to say, really 0."
    assert reason["images"] == 5
    chatty = measure("dcscore", world, lambda request, text: ChatAnswer("unparseable", "Sure!", reason="no JSON in it"))
    assert chatty.scores["dcscore"].reasons()[0]["reason"] == "no JSON in it: Sure!"


def test_the_most_common_reason_comes_first(world):
    slow = {sample.meta["casual"][0][:30] for sample in list(world)[1:4]}

    def spoil(request, text):
        late = any(start in message.text for message in request.messages for start in slow)
        return ChatAnswer("timeout", reason="late" if late else "later")

    reasons = measure("language", world, spoil).scores["language"].reasons()
    assert [(one["reason"], one["images"]) for one in reasons] == [("late", 3), ("later", 2)]
    assert [one["example"] for one in reasons] == [world[1].id, world[0].id]


def test_nothing_is_told_where_all_is_known(world):
    evaluation = measure("caprl", world, None)
    assert evaluation.scores["caprl"].reasons() == []
    assert evaluation.to_json()["unknown_why"] == {}


def test_a_status_with_a_reason_is_its_text():
    status = StatusWithReason(Status.TIMEOUT, "no answer")
    assert status == "timeout"
    assert status in {"timeout"}
    assert json.dumps([status]) == '["timeout"]'
    assert reason_of(copy.deepcopy(status)) == "no answer"
    assert (reason_of("timeout"), reason_of(StatusWithReason("ok"))) == ("", "")
