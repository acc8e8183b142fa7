"""A real HTTP server that speaks /v1/chat/completions, answers what a function says, and fails on demand.

    with ChatServer(lambda body: "B") as server:
        server.fault("429", wait=1)          # the next call
        Chat(server.address, "toy").ask(...)
        server.bodies                        # what was asked

An answer is a text, or {"text", "finish", "logprobs": [(token, {candidate: logprob}), ...]}; exceptions of the function
become status 500; bodies for which `limit` is true get status 429.

Faults: "429" (`wait`: Retry-After in seconds), another status such as "500" (`text`: what it says, or the whole `body`;
`headers`), "hang" (until the server is closed; "slow": but it still says which models it has), "cut" (the connection,
in the middle of the answer), "malformed" (no JSON), "wrong" (JSON, but no chat completion), "empty" (no choices),
"none" (no text), "drip" (a byte every 50 ms), "filtered".
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from capwright.judges.client import ChatRequest, Message

Answering = Callable[[dict[str, Any]], Any]


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    allow_reuse_address = True

    def handle_error(self, request, client_address):
        """Clients that go away are what the tests are about."""


class ChatServer:
    """Answers on a free port of localhost; `address` ends in /v1."""

    def __init__(self, answering: Answering, latency: float = 0.0) -> None:
        self.answering = answering
        self.latency = latency
        self.limit: Callable[[dict[str, Any]], bool] = lambda _: False
        #: (status, body or what went wrong) of a body that the server does not take; None takes it.
        self.refuse: Callable[[dict[str, Any]], tuple[int, Any] | None] = lambda _: None
        self.models = ["toy"]
        self.closed_to_all = False  # not even the names of models are told
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.most_at_once = 0
        self.closing = threading.Event()
        self.lock = threading.Lock()
        self._at_once = 0
        self._faults: list[tuple[str, dict[str, Any]]] = []
        self._listener: _Listener | None = None
        self._connections: list[socket.socket] = []
        self._listen(0)
        self.address = f"http://127.0.0.1:{self.port}/v1"

    def fault(self, kind: str, times: int = 1, **settings: Any) -> None:
        """The next `times` calls fail like this, after faults that are waiting already."""
        with self.lock:
            self._faults += [(kind, settings)] * times

    def heal(self) -> None:
        with self.lock:
            self._faults.clear()

    def go_down(self, seconds: float | None = None) -> None:
        """Refuses connections and cuts open ones; for ever, or until so many seconds have passed."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.shutdown()
            listener.server_close()
        with self.lock:
            cut, self._connections = self._connections, []
        for connection in cut:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        if seconds is not None:
            threading.Timer(seconds, self.come_back).start()

    def come_back(self) -> None:
        if self._listener is None and not self.closing.is_set():
            self._listen(self.port)

    def close(self) -> None:
        self.closing.set()
        self.go_down()

    def __enter__(self) -> ChatServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _listen(self, port: int) -> None:
        self._listener = _Listener(("127.0.0.1", port), self._handler())
        self.port = self._listener.server_address[1]
        threading.Thread(target=self._listener.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def _next_fault(self) -> tuple[str, dict[str, Any]]:
        with self.lock:
            return self._faults.pop(0) if self._faults else ("", {})

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self):
                super().setup()
                with owner.lock:
                    owner._connections.append(self.connection)

            def log_message(self, *_):
                """Tests are quiet."""

            def do_GET(self):
                with owner.lock:
                    hangs = bool(owner._faults) and owner._faults[0][0] == "hang"
                if hangs:
                    owner.closing.wait()
                    self.close_connection = True
                elif owner.closed_to_all:
                    self._send(401, {"error": {"message": "Invalid API Key"}})
                elif self.path.endswith("/v1/models"):
                    self._send(200, {"object": "list", "data": [{"id": name} for name in owner.models]})
                else:
                    self._send(404, {"error": {"message": "no such path"}})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with owner.lock:
                    owner.bodies.append(body)
                    owner.keys.append(self.headers.get("Authorization", ""))
                    owner._at_once += 1
                    owner.most_at_once = max(owner.most_at_once, owner._at_once)
                try:
                    self._answer(body)
                finally:
                    with owner.lock:
                        owner._at_once -= 1

            def _answer(self, body):
                if not self.path.endswith("/v1/chat/completions"):
                    return self._send(404, {"error": {"message": "no such path"}})
                kind, settings = owner._next_fault()
                if owner.latency:
                    time.sleep(owner.latency)
                if kind == "429" or owner.limit(body):
                    wait = {"Retry-After": str(settings["wait"])} if "wait" in settings else {}
                    message = {"message": settings.get("text", "slow down"), "code": settings.get("code", "rate_limit")}
                    return self._send(429, {"error": message}, wait)
                if kind.isdigit():
                    error = {"error": {"message": settings.get("text", "it went wrong")}}
                    return self._send(int(kind), settings.get("body", error), settings.get("headers"))
                if refused := owner.refuse(body):
                    status, said = refused
                    return self._send(status, {"error": {"message": said}} if isinstance(said, str) else said)
                if kind in ("hang", "slow"):
                    owner.closing.wait()
                    self.close_connection = True
                    return None
                try:
                    whole = completion(body, owner.answering(body))
                except Exception as error:  # the function of a test
                    return self._send(500, {"error": {"message": repr(error)}})
                if kind == "malformed":
                    return self._send(200, b'{"choices": [{"message": {"content": "hal')
                if kind == "wrong":
                    return self._send(200, settings.get("body", {"object": "list", "data": []}))
                if kind == "empty":
                    whole["choices"] = []
                if kind == "none":
                    whole["choices"][0]["message"]["content"] = None
                if kind == "filtered":
                    whole["choices"][0] |= {"finish_reason": "content_filter"}
                return self._send(200, whole, cut=kind == "cut", drip=kind == "drip")

            def _send(self, status, body, headers=None, cut=False, drip=False):
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.end_headers()
                if cut:
                    self.wfile.write(data[: len(data) // 2])
                    self.close_connection = True
                elif drip:
                    for place in range(len(data)):
                        if owner.closing.wait(0.05):
                            break
                        self.wfile.write(data[place : place + 1])
                        self.wfile.flush()
                else:
                    self.wfile.write(data)

        return Handler


def completion(body: dict[str, Any], answer: Any) -> dict[str, Any]:
    """The body of a chat completion; tokens are counted as words."""
    answer = {"text": answer} if isinstance(answer, str) else answer
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": answer["text"]},
        "finish_reason": answer.get("finish", "stop"),
    }
    if body.get("logprobs") and "logprobs" in answer:
        content = [
            {"token": token, "logprob": top.get(token, -9.0),
             "top_logprobs": [{"token": word, "logprob": value} for word, value in top.items()]}
            for token, top in answer["logprobs"]
        ]  # fmt: skip
        choice["logprobs"] = {"content": content}
    prompt = sum(len(text_of(message).split()) for message in body["messages"])
    usage = {"prompt_tokens": prompt, "completion_tokens": len(answer["text"].split())}
    return {"id": "1", "object": "chat.completion", "model": body["model"], "choices": [choice], "usage": usage}


def text_of(message: dict[str, Any]) -> str:
    """The text of a message, whose content may be parts."""
    content = message["content"]
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part["type"] == "text")


def ask(text: str, **settings: Any) -> ChatRequest:
    """A request of one message."""
    return ChatRequest((Message("user", text),), **settings)


def asks(count: int) -> list[ChatRequest]:
    """Requests that differ."""
    return [ask(f"question {number}") for number in range(count)]


def echo(body: dict[str, Any]) -> str:
    """Answers with the last message."""
    return f"re: {text_of(body['messages'][-1])}"
