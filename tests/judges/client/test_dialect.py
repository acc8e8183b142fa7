"""Servers that do not take what others take, in the words that they have for it: each ends in a call that is taken."""

from __future__ import annotations

import pytest

from capwright.judges.client import ChatError, Message
from capwright.judges.client.messages import ChatRequest
from chat_server import ChatServer, ask, asks, text_of

YES_NO = {"type": "object", "properties": {"answer": {"enum": ["yes", "no"]}}, "required": ["answer"]}


def shape(body):
    return (body.get("response_format") or {}).get("type", "")


PYDANTIC = {
    "detail": [
        {
            "type": "literal_error",
            "loc": ["body", "response_format", "type"],
            "msg": "Input should be 'text' or 'json_object'",
        }
    ]
}


@pytest.mark.parametrize(
    ("status", "said", "taken"),
    [
        (400, "response_format json_schema is not supported by this model", ("json_object",)),
        (422, PYDANTIC, ("json_object",)),
        (400, "This response_format type is unavailable now", ("",)),
        (500, "Failed to initialize samplers: failed to parse grammar", ("",)),
        (500, {"error": {"message": "KeyError: 'json_schema'", "type": "server_error"}}, ("json_object",)),
        (200, {"error": {"message": "response_format is not allowed", "code": 400}}, ("",)),
        (406, "guided decoding is not available", ("",)),
    ],
)
def test_a_schema_is_sent_in_the_most_binding_way_that_is_taken(server, opened, status, said, taken):
    server.answering = lambda body: '{"answer": "yes"}'
    server.refuse = lambda body: None if shape(body) in taken else (status, said)
    chat = opened(server, concurrency=2)
    answers = chat.ask([ask(f"well {n}?", schema=YES_NO) for n in range(4)])
    assert [(answer.status, answer.data) for answer in answers] == [("ok", {"answer": "yes"})] * 4
    assert shape(server.bodies[-1]) == taken[0]
    assert "JSON schema" in text_of(server.bodies[-1]["messages"][-1])
    assert shape(server.bodies[0]) == "json_schema"


def test_a_number_that_is_too_large_is_lowered_not_left_out(server, opened):
    def refuse(body):
        if body["top_logprobs"] > 5:
            return 400, "Requested sample logprobs of 20, which is greater than max allowed: 5"
        if body["max_tokens"] > 100:
            return 400, "max_tokens is too large: 512. This model supports at most 100 completion tokens"
        return None

    server.refuse = refuse
    server.answering = lambda body: {"text": "B", "logprobs": [("B", {"B": -0.1, "A": -3.0})]}
    answer = opened(server).ask([ask("?", choices=("A", "B"))])[0]
    assert answer.status == "ok"
    assert answer.probabilities[1] > 0.9
    assert (server.bodies[-1]["top_logprobs"], server.bodies[-1]["max_tokens"]) == (5, 100)
    assert len(server.bodies) == 3


def test_a_prompt_beyond_the_context_is_no_reason_to_ask_again(server, opened):
    said = "This model's maximum context length is 4096 tokens. However, you requested 5012 tokens; max_tokens is 512"
    server.refuse = lambda body: (400, said)
    answer = opened(server).ask(asks(1))[0]
    assert answer.status == "judge_error"
    assert "maximum context length is 4096" in answer.reason
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, "System role not supported"),
        (500, "Jinja Exception: System role not supported"),
        (400, "Conversation roles must alternate user/assistant/user/assistant/..."),
        (422, "messages with role system are unsupported: system"),
    ],
)
def test_system_text_moves_before_the_users(server, opened, status, said):
    server.refuse = lambda body: (status, said) if body["messages"][0]["role"] == "system" else None
    talk = (Message("system", "Be brief."), Message("user", "Well?"))
    answers = opened(server, concurrency=1).ask([ChatRequest(talk), ChatRequest((*talk, Message("assistant", "I")))])
    assert [answer.status for answer in answers] == ["ok", "ok"]
    for body in server.bodies[-2:]:
        assert body["messages"][0]["role"] == "user"
        assert text_of(body["messages"][0]) == "Be brief.\n\nWell?"


def test_a_schema_that_has_no_effect_is_said_in_words(server, opened, caplog):
    """As `transformers serve`, which takes response_format and does nothing with it."""
    server.answering = lambda body: "yes, I think" if shape(body) else '{"answer": "yes"}'
    chat = opened(server, concurrency=1)
    answers = chat.ask([ask(f"well {n}?", schema=YES_NO) for n in range(5)])
    assert [answer.status for answer in answers] == ["unparseable"] * 2 + ["ok"] * 3
    assert "has no effect" in caplog.text
    assert len(server.bodies) == 6  # the third was asked again


def test_a_model_that_follows_a_schema_may_fail_now_and_then(server, opened):
    server.answering = lambda body: '{"answer": "yes"}' if text_of(body["messages"][-1]) == "well 0?" else "hm"
    opened(server, concurrency=1).ask([ask(f"well {n}?", schema=YES_NO) for n in range(8)])
    assert {shape(body) for body in server.bodies} == {"json_schema"}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": {"message": "The response was filtered", "code": "content_filter"}}),
        (200, {"error": {"message": "prompt triggering Azure OpenAI's content management policy", "code": 400}}),
    ],
)
def test_a_content_filter_is_a_refusal(server, opened, status, body):
    server.fault(str(status), body=body)
    answer = opened(server).ask(asks(1))[0]
    assert answer.status == "refusal"
    assert len(server.bodies) == 1


@pytest.mark.parametrize("status", [301, 307, 308])
def test_a_redirect_is_refused_and_names_where_to(server, opened, status):
    with ChatServer(lambda body: "stolen") as other:
        server.fault(str(status), headers={"Location": f"{other.address}/chat/completions"}, times=5)
        with pytest.raises(ChatError, match=f"status {status}.*sends us to {other.address}; if that is right, use"):
            opened(server).ask(asks(2))
        assert other.bodies == []


def choice(content, finish, **thoughts):
    return {"message": {"content": content, **thoughts}, "finish_reason": finish}


@pytest.mark.parametrize(
    ("choice", "status", "reason"),
    [
        (choice(None, "length", reasoning_content="hm"), "truncated", "a model that thinks first needs more"),
        (choice("", "length", reasoning="hm"), "truncated", "a model that thinks first needs more"),
        (choice("<think>on and on", "length"), "truncated", "a model that thinks first needs more"),
        (choice(None, "stop", reasoning_content="hm"), "unparseable", "there are only thoughts in it"),
        (choice("half", "length"), "truncated", "the context of the model ended the answer after 7 of 512 tokens"),
    ],
)
def test_where_the_answer_went_is_said(server, opened, choice, status, reason):
    usage = {"prompt_tokens": 9, "completion_tokens": 7 if choice["message"]["content"] == "half" else 512}
    server.fault("200", body={"choices": [choice], "usage": usage})
    answer = opened(server).ask(asks(1))[0]
    assert answer.status == status
    assert reason in answer.reason
    assert len(server.bodies) == 1
