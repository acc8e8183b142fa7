"""`Chat` against a real HTTP server: what is sent, kept, counted and hidden."""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import traceback

import pytest
from PIL import Image

from capwright.judges.client import BudgetError, Chat, ChatDownError, ChatError, ChatRequest, Cost, Message
from capwright.judges.client.chat import LoopThread
from chat_server import ask, asks, echo, text_of

YES_NO = {"type": "object", "properties": {"answer": {"enum": ["yes", "no"]}}, "required": ["answer"]}


def test_answers_come_in_the_order_of_the_questions(server, opened):
    server.answering = lambda body: time.sleep(0.02 * (len(text_of(body["messages"][0])) % 3)) or echo(body)
    answers = opened(server).ask(asks(40))
    assert [answer.text for answer in answers] == [f"re: question {number}" for number in range(40)]
    assert all(answer.status == "ok" and answer.tokens_in == 2 and answer.tokens_out == 3 for answer in answers)
    assert all(answer.seconds > 0 and not answer.cached for answer in answers)


def test_no_more_calls_at_once_than_said(server, opened):
    server.latency = 0.03
    opened(server, concurrency=4).ask(asks(20))
    assert 2 <= server.most_at_once <= 4


def test_what_is_sent(server, opened, tmp_path):
    Image.new("RGB", (4, 2), "red").save(tmp_path / "red.png")
    request = ChatRequest(
        (Message("system", "Be brief."), Message("user", "What color?", (tmp_path / "red.png",))),
        max_tokens=7, temperature=0.5, seed=3, choices=("A", "B"),
    )  # fmt: skip
    opened(server, extra={"top_p": 0.9}).ask([request])
    body = server.bodies[0]
    assert body["model"] == "toy"
    assert (body["max_tokens"], body["temperature"], body["seed"], body["top_p"]) == (7, 0.5, 3, 0.9)
    assert body["logprobs"] is True
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    image, text = body["messages"][1]["content"]
    assert image["image_url"]["url"].startswith("data:image/png;base64,")
    assert text == {"type": "text", "text": "What color?"}


def test_an_image_that_is_missing_or_none_costs_only_its_own_call(server, opened, tmp_path):
    (tmp_path / "no.png").write_bytes(b"not an image")
    requests = [ChatRequest((Message("user", "seen?", (tmp_path / name,)),)) for name in ("away.png", "no.png")] + asks(
        1
    )
    answers = opened(server).ask(requests)
    assert [answer.status for answer in answers] == ["missing_image", "missing_image", "ok"]
    assert "away.png" in answers[0].reason
    assert len(server.bodies) == 1


def test_json_that_does_not_follow_the_schema_is_unparseable_and_asked_again(server, opened, tmp_path):
    chat = opened(server, cache=tmp_path)
    server.answering = lambda _: '{"answer": "perhaps"}'
    answer = chat.ask([ask("well?", schema=YES_NO)])[0]
    assert (answer.status, answer.data) == ("unparseable", None)
    assert "perhaps" in answer.reason
    server.answering = lambda _: 'Sure!\n```json\n{"answer": "no",}\n```'
    assert chat.ask([ask("well?", schema=YES_NO)])[0].data == {"answer": "no"}


def test_text_that_is_no_unicode_is_sent_as_far_as_it_goes(server, opened):
    assert opened(server).ask([ask("half \ud800 a sign"), ask("ü 🙂")])[1].text == "re: ü 🙂"
    assert {text_of(body["messages"][0]) for body in server.bodies} == {"half ? a sign", "ü 🙂"}


def test_cut_off_and_filtered_answers(server, opened):
    server.answering = lambda _: {"text": "A) because", "finish": "length"}
    chat = opened(server)
    assert chat.ask([ask("?", max_tokens=2)])[0].status == "truncated"
    assert chat.ask([ask("?", max_tokens=2, choices=("A", "B"))])[0].status == "ok"
    server.fault("filtered")
    assert chat.ask([ask("!")])[0].status == "refusal"


def test_probabilities_of_choices(server, opened):
    server.answering = lambda _: {"text": "A", "logprobs": [("A", {"A": -0.5, " A": -2.0, "B": -1.5, "the": -3.0})]}
    answer = opened(server).ask([ask("?", choices=("A", "B", "C"))])[0]
    assert sum(answer.probabilities) == pytest.approx(1)
    assert answer.probabilities == pytest.approx((0.7688, 0.2312, 0), abs=1e-3)


def test_a_request_is_asked_once(server, opened, tmp_path):
    chat = opened(server, cache=tmp_path)
    answers = chat.ask([ask("same"), ask("same"), ask("same", seed=1), ask("same", protocol="2")])
    assert len(server.bodies) == 3
    again = opened(server, cache=tmp_path).ask([ask("same", seed=1), ask("same")])
    assert len(server.bodies) == 3
    assert [answer.cached for answer in answers + again] == [False] * 4 + [True] * 2
    assert again[1].text == "re: same"
    assert again[1].seconds == 0


def test_another_model_or_image_is_another_question(server, opened, tmp_path):
    image = tmp_path / "one.png"
    request = ChatRequest((Message("user", "seen?", (image,)),))
    for color in ("red", "blue", "blue"):
        Image.new("RGB", (3, 3), color).save(image)
        opened(server, cache=tmp_path).ask([request])
    assert len(server.bodies) == 2
    opened(server, model="other", cache=tmp_path).ask([request])
    opened(server, extra={"top_p": 0.5}, cache=tmp_path).ask([request])
    assert len(server.bodies) == 4


def test_a_budget_ends_before_the_call_that_would_exceed_it(server, opened):
    # 2 tokens in of a million each, at most 10 out: a prompt of 12 characters is guessed at 4 + 8 = 12 tokens
    chat = opened(server, prices={"input": 1e6, "output": 1e6}, budget=40, concurrency=1)
    with pytest.raises(BudgetError, match="budget of 40"):
        chat.ask([ask(f"question {number}", max_tokens=10) for number in range(10, 30)])
    assert chat.account.cost == 5 * len(server.bodies)
    assert chat.account.cost <= 40
    assert len(server.bodies) == 4  # 20 spent, 22 more would be too much
    with pytest.raises(ChatError, match="needs prices"):
        opened(server, budget=1)


def test_budget_and_limits_are_divided_over_processes(server, opened, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    chat = opened(server, prices={"input": 1.0}, budget=8, requests_per_minute=2400)
    assert chat.account.budget == 2
    began = time.monotonic()
    chat.ask(asks(11))  # 600 a minute for us: one each 0.1 s
    assert time.monotonic() - began >= 0.99


def test_an_estimate_asks_nobody(server, opened, tmp_path):
    chat = opened(server, cache=tmp_path, prices={"input": 2.0, "output": 10.0})
    chat.ask(asks(2))
    server.bodies.clear()
    found = chat.estimate([*asks(5), *asks(5)])
    tokens = 3 * ((10 // 3) + 8 + 512)
    assert found == Cost(3, 2, tokens, pytest.approx(3 * (11 * 2 + 512 * 10) / 1e6))
    assert "3 calls, 2 answers from the cache" in str(found)
    assert str(Cost(1, 1, 1, None)) == "1 call, 1 answer from the cache, at most 1 token"
    assert server.bodies == []


def test_a_key_is_nowhere(server, opened, tmp_path, monkeypatch, caplog, capfd):
    secret = "sk-planted-0123456789"
    monkeypatch.setenv("MY_KEY", secret)
    caplog.set_level(logging.DEBUG)
    chat = opened(server, key_variable="MY_KEY", cache=tmp_path, retries=0)
    server.answering = lambda _: f"your key is {secret}"
    said = [repr(chat), str(chat.ask(asks(1)))]
    assert server.keys == [f"Bearer {secret}"]
    for kind in ("400", "500", "429", "404"):
        server.fault(kind, text=f"bad key {secret}")
        said.append(str(chat.ask([ask(kind)])))
    for kind in ("401", "404"):
        server.fault(kind, text=f"bad key {secret}")
        with pytest.raises(ChatError) as caught:
            opened(server, key_variable="MY_KEY").ask([ask(kind)])
        said += traceback.format_exception(caught.value)
    server.go_down()
    with pytest.raises(ChatDownError) as caught:
        opened(server, key_variable="MY_KEY", patience=0.2).ask(asks(1))
    said += traceback.format_exception(caught.value)
    chat.close()
    said += [caplog.text, *capfd.readouterr(), str(chat.account.summary())]
    assert secret not in "".join(said)
    for file in tmp_path.iterdir():
        assert secret.encode() not in file.read_bytes()


def test_a_server_that_does_not_say_its_models_to_a_wrong_key(server, monkeypatch):
    """Without a model it is asked for its names first; llama.cpp answers 401."""
    server.closed_to_all = True
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-1234")
    with pytest.raises(ChatError, match="status 401: the key in the variable OPENAI_API_KEY is not accepted"):
        Chat(server.address)
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ChatError, match="OPENAI_API_KEY is not set"):
        Chat(server.address)


@pytest.mark.parametrize("secret", ["sk-planted-1234\nX: 1", "sk-planted-1234\u00fc"])
@pytest.mark.parametrize("aiohttp", [True, False])
def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(server, opened, monkeypatch, secret, aiohttp):
    import openai

    if not aiohttp:
        monkeypatch.delattr(openai, "DefaultAioHttpClient")
    monkeypatch.setenv("OPENAI_API_KEY", secret)
    with pytest.raises(ChatError, match="OPENAI_API_KEY") as caught:
        opened(server).ask(asks(1))
    assert "planted" not in str(caught.value)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-1234\n")  # as files of keys end
    assert opened(server).ask(asks(1))[0].status == "ok"
    assert server.keys[-1] == "Bearer sk-planted-1234"


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://user:sk-planted@host/v1", "environment"),
        ("http://host/v1?key=sk-planted", "environment"),
        ("host:8000", "is no address"),
        ("ftp://host/v1", "is no address"),
        ("http://host:port/v1", "is no address"),
        ("http://host:99999/v1", "is no address"),
        ("http://[::1/v1", "is no address"),
        ("http://..../v1", "is no address"),
    ],
)
def test_addresses_that_can_not_be(address, message):
    with pytest.raises(ChatError, match=message) as caught:
        Chat(address, "toy")
    assert "sk-planted" not in str(caught.value)


def test_options_and_requests_that_can_not_be(server, opened):
    for wrong in (
        {"concurrency": 0},
        {"call_seconds": -1},
        {"retries": -1},
        {"patience": "long"},
        {"prices": {"in": 1}},
        {"prices": {"input": "free"}},
        {"prices": {"output": -1}},
        {"concurrency": 2.5},
        {"concurrency": None},
        {"patience": None},
        {"call_seconds": None},
        {"call_seconds": float("inf")},
        {"max_pixels": 0.5},
        {"key_variable": 5},
        {"cache": 5},
        {"extra": [1]},
    ):
        with pytest.raises(ChatError, match=next(iter(wrong))):
            opened(server, **wrong)
    server.models = []
    with pytest.raises(ChatError, match="which model"):
        opened(server, model="")
    with pytest.raises(
        ChatError, match=r"no option concurency \(did you mean concurrency\? options: key_variable, .*dtype"
    ):
        opened(server, concurency=3)
    with pytest.raises(ChatError, match="retries must be a valid number, not 'many'"):
        opened(server, retries="many")
    for request, message in (
        (ChatRequest(()), "without messages"),
        (ChatRequest((Message("judge", "hi"),)), "role 'judge'"),
        (ask("?", max_tokens=0), "max_tokens"),
        (ask("?", schema={"type": "object", "patternProperties": {}}), "patternProperties"),
    ):
        with pytest.raises(ChatError, match=message):
            opened(server).ask([request])


def test_the_package_needs_neither_torch_nor_openai_to_be_imported():
    code = "import sys, capwright.judges.client; assert not {'torch', 'openai', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_ctrl_c_comes_back_when_what_it_ended_has_ended():
    """Else an answer could come in while the last ones are being written."""
    ended = []

    async def work():
        try:
            await asyncio.sleep(0.2)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            await asyncio.sleep(10)
        finally:
            await asyncio.sleep(0.1)
            ended.append(True)

    loop = LoopThread()
    with pytest.raises(KeyboardInterrupt):
        loop.run(work())
    assert ended == [True]
    loop.end(asyncio.sleep(0))


def test_a_program_does_not_wait_at_its_end_for_threads_that_ask():
    """A reward that ran out of its time is such a thread."""
    code = (
        "import threading, time\nfrom capwright.judges.client import Chat, ChatRequest, Message\n"
        "chat = Chat('http://127.0.0.1:1/v1', 'toy', cache=None, patience=60)\n"
        "ask = lambda: chat.ask([ChatRequest((Message('user', 'hi'),))])\n"
        "threading.Thread(target=ask, daemon=True).start()\ntime.sleep(1.5)\n"
    )
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", code], check=True, timeout=50, capture_output=True)
    assert time.monotonic() - began < 30


def test_a_child_can_ask_while_a_thread_of_the_parent_does(server, opened, tmp_path):
    chat = opened(server, cache=tmp_path, prices={"output": 1e6}, budget=5000)
    chat.cache.get([b"opened"])
    server.fault("hang")
    asking = threading.Thread(target=lambda: chat.ask([ask("in the parent", max_tokens=1000)]), daemon=True)
    asking.start()
    while not server.bodies:
        time.sleep(0.01)
    with chat.cache._lock, chat.account._lock:
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(20)
            code = 1
            try:
                answer = chat.ask([ask("in the child", max_tokens=1000)])[0]
                code = 0 if answer.text == "re: in the child" and chat.account._reserved == 0 else 3
                chat.close()
            finally:
                os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    asking.join(30)
    assert chat.ask([ask("in the parent", max_tokens=1000)])[0].cached


def test_a_chat_goes_on_after_a_fork(server, opened):
    chat = opened(server)
    chat.ask(asks(1))
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, pickle.dumps(chat.ask([ask("in the child")])[0].text))
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    assert pickle.loads(os.read(read, 1000)) == "re: in the child"
    os.close(read)
    assert chat.ask([ask("in the parent")])[0].status == "ok"
