"""`Chat` against a real HTTP server that fails in every way we know."""

from __future__ import annotations

import time

import pytest

from capwright.judges.client import ChatDownError, ChatError
from chat_server import ask, asks, echo, text_of

YES_NO = {"type": "object", "properties": {"answer": {"enum": ["yes", "no"]}}, "required": ["answer"]}


@pytest.mark.parametrize("kind", ["500", "malformed", "wrong", "empty", "none", "cut", "503"])
def test_one_fault_is_tried_again(server, opened, kind):
    server.fault(kind)
    answer = opened(server).ask(asks(1))[0]
    assert (answer.status, answer.text) == ("ok", "re: question 0")
    assert len(server.bodies) == 2


@pytest.mark.parametrize("kind", ["500", "malformed", "wrong", "empty", "none", "cut"])
def test_a_fault_that_stays_is_unknown_and_others_are_answered(server, opened, kind):
    chat = opened(server, retries=1, concurrency=1)
    server.fault(kind, times=2)
    answers = chat.ask(asks(3))
    assert [answer.status for answer in answers] == ["judge_error", "ok", "ok"]
    assert answers[0].reason
    assert answers[0].text == ""
    assert chat.account.summary()["failed_tries"] == 2


@pytest.mark.parametrize(
    "body", [[], {"choices": {}}, {"choices": [None]}, {"choices": [{"message": "hi"}]}, "hm", None]
)
def test_answers_of_the_wrong_shape(server, opened, body):
    server.fault("wrong", body=body)
    assert opened(server, retries=0).ask(asks(1))[0].status == "judge_error"


def test_numbers_that_can_not_be_are_passed_over(server, opened):
    """JSON of some servers has Infinity in it, and log-probabilities above 0."""
    first = {"token": "A", "logprob": 1000.0}
    choice = {"message": {"content": "A"}, "logprobs": {"content": [{"token": "A", "top_logprobs": [first]}]}}
    server.fault("wrong", body={"choices": [choice], "usage": {"prompt_tokens": float("inf")}})
    answer = opened(server, retries=0).ask([ask("?", choices=("A", "B"))])[0]
    assert (answer.status, answer.probabilities, answer.tokens_in) == ("ok", (1.0, 0.0), 0)


@pytest.mark.parametrize("kind", ["hang", "drip"])
def test_a_call_ends_in_time_however_slowly_it_drips(server, opened, kind):
    server.fault(kind)
    began = time.monotonic()
    answers = opened(server, retries=0, call_seconds=0.5).ask(asks(2))
    assert time.monotonic() - began < 3
    assert sorted(answer.status for answer in answers) == ["ok", "timeout"]
    assert any("0.5 s" in answer.reason for answer in answers)


def test_after_a_hang_it_is_tried_again(server, opened):
    server.fault("hang")
    assert opened(server, call_seconds=0.5).ask(asks(1))[0].status == "ok"


def test_a_step_ends_in_time(server, opened):
    server.latency = 0.2
    began = time.monotonic()
    answers = opened(server, step_seconds=0.7, concurrency=2).ask(asks(40))
    assert time.monotonic() - began < 2
    statuses = [answer.status for answer in answers]
    assert 2 <= statuses.count("ok") < 10
    assert statuses.count("timeout") == 40 - statuses.count("ok")
    assert "0.7 s" in answers[-1].reason


def test_everybody_waits_as_long_as_the_server_asks(server, opened):
    server.fault("429", wait=1)
    arrived = []
    server.answering = lambda body: arrived.append(time.monotonic()) or "x"
    began = time.monotonic()
    answers = opened(server, concurrency=1).ask(asks(2))
    assert [answer.status for answer in answers] == ["ok", "ok"]
    assert min(arrived) - began >= 1.0


def test_limits_use_up_no_retries_but_patience(server, opened):
    server.fault("429", times=2)
    assert opened(server, retries=0).ask(asks(1))[0].status == "ok"
    server.fault("429", times=20)
    answer = opened(server, retries=50, patience=0.3).ask(asks(1))[0]
    assert answer.status == "judge_error"
    assert "429" in answer.reason


def test_a_wait_beyond_patience_is_cut_to_patience(server, opened):
    server.fault("429", wait=3600)
    began = time.monotonic()
    assert opened(server, patience=0.6).ask(asks(1))[0].status == "ok"
    server.fault("429", wait=3600, times=2)
    answer = opened(server, patience=0.6).ask(asks(1))[0]
    assert 1.2 <= time.monotonic() - began < 4
    assert answer.status == "judge_error"
    assert "asks to wait 3600 s" in answer.reason


@pytest.mark.parametrize("settings", [{}, {"wait": 3600}])
def test_a_limit_on_everything_is_an_outage(server, opened, settings):
    server.fault("429", times=10**5, **settings)
    began = time.monotonic()
    with pytest.raises(ChatDownError, match=r"429 to everything for \d+ s.*requests_per_minute.*0 of 200") as caught:
        opened(server, patience=1, concurrency=4).ask(asks(200))
    assert 1 <= time.monotonic() - began < 5, "not once more for each wave of calls"
    assert server.address in str(caught.value)
    assert "quota" in str(caught.value)


@pytest.mark.parametrize("kind", ["500", "malformed"])
def test_a_server_with_nothing_but_errors_is_an_outage(server, opened, kind):
    server.fault(kind, times=10**5)
    with pytest.raises(ChatDownError, match=r"nothing but errors for \d+ s.*look into its log") as caught:
        opened(server, patience=1, concurrency=4, retries=1).ask(asks(200))
    assert server.address in str(caught.value)


def test_a_call_that_breaks_the_server_does_not_end_the_others(server, opened):
    chat = opened(server, patience=0.2, concurrency=4, retries=2)
    chat.ask(asks(1))
    server.fault("500", times=3)
    assert chat.ask([ask("one that breaks it")])[0].status == "judge_error"
    assert [answer.status for answer in chat.ask(asks(12))] == ["ok"] * 12


def test_a_limit_on_everything_is_found_over_asks_of_one_question(server, opened):
    server.fault("429", times=10**5)
    chat = opened(server, patience=0.5)
    assert [chat.ask([ask(word)])[0].status for word in ("one", "two")] == ["judge_error"] * 2
    with pytest.raises(ChatDownError, match="429 to everything"):
        chat.ask([ask("three")])


def test_one_call_beyond_its_limit_does_not_end_the_others(server, opened):
    """Some servers answer 429 for ever to a prompt that is longer than what a minute allows."""
    chat = opened(server, patience=0.4, concurrency=4)
    server.limit = lambda body: "question 7" in text_of(body["messages"][0])
    answers = chat.ask(asks(12))
    assert [answer.status for answer in answers] == ["ok"] * 7 + ["judge_error"] + ["ok"] * 4
    assert "429" in answers[7].reason


def test_a_call_under_way_may_still_be_answered_while_the_others_are_refused(server, opened):
    server.limit = lambda body: "slow" not in text_of(body["messages"][0]) and not server.served
    server.served = []

    def slow(body):
        time.sleep(0 if server.served else 1)
        server.served.append(1)
        return "at last"

    server.answering = slow
    answers = opened(server, patience=0.5, call_seconds=4).ask([ask("slow"), *asks(3)])
    assert [answer.text for answer in answers] == ["at last"] * 4


@pytest.mark.parametrize(("kind", "cost"), [("cut", 60), ("hang", 60), ("malformed", 60), ("429", 20), ("500", 20)])
def test_what_the_server_may_have_answered_counts_against_the_budget(server, opened, kind, cost):
    """An answer costs 20; a try that may be on the bill costs as much as it may at most."""
    chat = opened(server, prices={"output": 1e6}, budget=100, call_seconds=0.5)
    server.answering = lambda _: " ".join(["word"] * 20)
    server.fault(kind)
    assert chat.ask([ask("well?", max_tokens=40)])[0].status == "ok"
    assert chat.account.cost == cost


@pytest.mark.parametrize("aiohttp", [True, False])
def test_an_answer_without_end_is_not_read(server, opened, monkeypatch, aiohttp):
    import openai

    if not aiohttp:
        monkeypatch.delattr(openai, "DefaultAioHttpClient")
    server.answering = lambda body: "word " * (2_000_000 if "long" in text_of(body["messages"][0]) else 100_000)
    first, second = opened(server, concurrency=1).ask([ask("long", max_tokens=5), ask("short")])
    assert (first.status, first.reason, first.text) == ("judge_error", "the answer is larger than 8 MB", "")
    assert second.status == "ok"
    assert len(server.bodies) == 2, "it would be as long again"


@pytest.mark.parametrize(
    ("asked", "said", "warned"),
    [("gpt-4o", "gpt-4o-2024-08-06", 0), ("/models/Qwen2.5-7B", "qwen2.5-7b", 0), ("m/toy.gguf", "/data/toy.gguf", 0),
     ("toy", None, 0), ("toy", "", 0), ("toy", ["x"], 0), ("Qwen2.5-72B", "Qwen2.5-7B", 1), ("gpt-4o", "gpt-3.5", 1)],
)  # fmt: skip
def test_a_server_that_is_another_model_is_warned_about_once(server, opened, caplog, asked, said, warned):
    body = {"model": said, "choices": [{"message": {"content": "hi"}}]}
    server.fault("wrong", times=3, body=body)
    assert [answer.text for answer in opened(server, model=asked).ask(asks(3))] == ["hi"] * 3
    assert caplog.text.count("answers as") == warned
    assert not warned or (asked in caplog.text and said in caplog.text)


def test_a_call_that_never_was_costs_nothing(server, opened):
    server.go_down(0.5)
    chat = opened(server, prices={"output": 1e6}, budget=1000)
    chat.ask([ask("well?", max_tokens=100)])
    assert chat.account.summary()["failed_tries"] > 0
    assert chat.account.cost == 2  # the two words of the answer


def test_an_outage_shorter_than_patience_loses_nothing(server, opened):
    chat = opened(server, patience=20)
    chat.ask(asks(1))
    server.go_down(0.7)
    answers = chat.ask([ask(f"after {number}") for number in range(30)])
    assert [answer.text for answer in answers] == [f"re: after {number}" for number in range(30)]


def test_a_server_that_is_down_ends_the_asking_with_its_address(server, opened):
    server.go_down()
    began = time.monotonic()
    with pytest.raises(ChatDownError, match=r"127\.0\.0\.1.*no answer for .*0 of 50 answers") as caught:
        opened(server, patience=0.8).ask(asks(50))
    assert 0.7 < time.monotonic() - began < 6
    assert server.address in str(caught.value)
    assert "Connect" in str(caught.value) or "refused" in str(caught.value)


def test_a_slow_server_that_lives_is_not_down(server, opened):
    """As one on a CPU, which has not finished the first of 16 long answers when their time is over."""
    server.fault("slow", times=100)
    answers = opened(server, call_seconds=0.2, patience=0.3, retries=1, concurrency=4).ask(asks(8))
    assert {answer.status for answer in answers} == {"timeout"}
    assert "no answer within 0.2 s (call_seconds; or lower concurrency)" in answers[0].reason


def test_a_server_that_never_answers_is_down(server, opened):
    server.fault("hang", times=100)
    with pytest.raises(ChatDownError, match=r"no answer within 0\.4 s"):
        opened(server, patience=1, call_seconds=0.4, retries=50).ask(asks(5))


@pytest.mark.parametrize("concurrency", [1, 16])
def test_one_call_on_which_a_server_chokes_does_not_end_the_others(server, opened, concurrency):
    server.answering = lambda body: time.sleep(1) if text_of(body["messages"][0]) == "question 7" else echo(body)
    chat = opened(server, patience=0.2, call_seconds=0.3, retries=3, concurrency=concurrency)
    answers = chat.ask(asks(12))
    assert [answer.status for answer in answers] == ["ok"] * 7 + ["timeout"] + ["ok"] * 4


def test_patience_goes_on_over_steps_that_are_short(server, opened):
    server.go_down()
    chat = opened(server, patience=1.2, step_seconds=0.5)
    assert chat.ask(asks(3))[0].status == "timeout"
    assert chat.ask(asks(3))[0].status == "timeout"
    with pytest.raises(ChatDownError):
        chat.ask(asks(3))


def test_what_came_before_an_outage_is_kept(server, opened, tmp_path):
    chat = opened(server, patience=0.5, concurrency=2, cache=tmp_path)
    server.answering = lambda body: (server.go_down() if "7" in text_of(body["messages"][0]) else None) or echo(body)
    with pytest.raises(ChatDownError, match="in the cache"):
        chat.ask(asks(40))
    assert 4 <= chat.cache.state().answers < 40


def test_a_key_that_is_refused_and_a_model_that_is_not_there(server, opened):
    server.fault("401")
    with pytest.raises(ChatError, match="OPENAI_API_KEY"):
        opened(server).ask(asks(1))
    server.fault("404", text="no model toy")
    with pytest.raises(ChatError, match="no model toy"):
        opened(server).ask(asks(1))
    server.fault("429", code="insufficient_quota")
    with pytest.raises(ChatError, match="no money"):
        opened(server).ask(asks(1))


def test_parameters_that_a_server_does_not_know_are_left_out(server, opened, caplog):
    def picky(body):
        return '{"answer": "yes"}'

    server.answering = picky
    chat = opened(server)
    server.fault("400", text="Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
    server.fault("400", text="response_format json_schema is not supported by this model", times=2)
    answer = chat.ask([ask("well?", schema=YES_NO)])[0]
    assert (answer.status, answer.data) == ("ok", {"answer": "yes"})
    assert server.bodies[0]["response_format"]["json_schema"]["schema"] == YES_NO
    last = server.bodies[-1]
    assert last["max_completion_tokens"] == 512
    assert not {"max_tokens", "response_format"} & last.keys()
    (said,) = last["messages"]  # not a second one of the user: many templates want turns
    assert text_of(said).startswith("well?")
    assert "JSON schema" in text_of(said)
    assert "max_tokens" in caplog.text
    server.fault("400", text="max_tokens is too large: the context has 4096 tokens")
    assert chat.ask(asks(1))[0].status == "judge_error"


def test_without_aiohttp_it_works_as_well(server, opened, monkeypatch):
    def missing(**_):
        raise RuntimeError("install aiohttp")

    import openai

    monkeypatch.setattr(openai, "DefaultAioHttpClient", missing)
    chat = opened(server, patience=1)
    for kind in ("cut", "500", "429"):
        server.fault(kind)
    assert [answer.status for answer in chat.ask(asks(5))] == ["ok"] * 5
    server.go_down()
    with pytest.raises(ChatDownError, match="no connection"):
        chat.ask([ask("away")])
