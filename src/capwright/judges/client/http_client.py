"""One try of one call over HTTP: what is sent, the connection, and what an answer of any status means.

The connections are those of the `openai` client, without what it does around them: its `chat.completions.create`
copies, checks and wraps every request and answer, which takes longer than the rest of a call; what we send is plain
JSON and what comes back is checked by us anyway. So we post through its HTTP client: with aiohttp where that is
installed (`openai[aiohttp]`), else with httpx.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import re
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin

from capwright.console import first_line
from capwright.judges.client.dialect import Dialect
from capwright.judges.client.messages import CANDIDATES, ChatAnswer, ChatError, ChatRequest
from capwright.judges.client.options import ChatOptions
from capwright.judges.client.processes import leave_to_parent
from capwright.types import Status

log = logging.getLogger("capwright")

#: Errors that mean that a connection never was; by name for the libraries below, which change.
_NO_CONNECTION = (ConnectionRefusedError, socket.gaierror)
_NO_CONNECTION_NAMES = ("ConnectError", "ClientConnectorError", "ClientConnectorDNSError")
#: Their base classes of everything that can happen on the way.
_ON_THE_WAY = ("HTTPError", "StreamError", "InvalidURL", "ClientError")
#: Bytes of an answer; nothing that we ask for comes near, and a runaway server must not fill our memory.
LARGEST = 8_000_000
#: What a proxy says when no server is behind it.
_ABSENT = (502, 503)
#: How a server says that it will not answer this, whatever the status.
_FILTERED = re.compile(r"content_filter|content management policy|content_policy|responsibleai", re.IGNORECASE)


@dataclass(eq=False)
class CallFailedError(Exception):
    """A try that came to nothing.

    Attributes:
        reason: for people.
        status: what becomes of the call, if no other try does better.
        final: no other try would do better.
        again: another try at once would; this one said nothing about the server.
        fatal: no other call would do better either.
        reached: there was a connection to a server.
        heard: the server answered.
        limit: it said that we ask too much.
        counts: it uses up one of the `retries`.
        billed: the server may have answered, and want its money.
        wait: seconds that the server asks to wait.
    """

    reason: str
    status: Status = Status.JUDGE_ERROR
    final: bool = False
    again: bool = False
    fatal: bool = False
    reached: bool = True
    heard: bool = True
    limit: bool = False
    counts: bool = True
    billed: bool = False
    wait: float = 0.0


class HTTPClient:
    """A server that speaks /chat/completions at `address`; its connections belong to the event loop that uses them.

    Raises ChatError for a key that no header can hold.
    """

    def __init__(self, address: str, model: str, options: ChatOptions) -> None:
        self.address = address
        self.model = model
        self.options = options
        #: Calls that the server answered.
        self.answered = 0
        self._key = os.environ.get(options.key_variable, "").strip()
        if not (self._key.isascii() and self._key.isprintable()):  # what refuses it later would show it
            where = options.key_variable
            raise ChatError(f"{address}: the key in the variable {where} has signs that no key has; set it again")
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._key:
            self._headers["Authorization"] = f"Bearer {self._key}"
        self._connections: Any = None
        self._dialect = Dialect(address, options.extra)
        self._other_name = False

    async def complete(self, request: ChatRequest, images: Sequence[Sequence[str]]) -> ChatAnswer:
        """The answer to a request, to be read; `images` are the URLs of each message. Raises CallFailedError."""
        from anyio import fail_after  # comes with openai; asyncio.wait_for makes a task of every call, which takes time

        body = self._body(request, images)
        answered, started = self.answered, time.monotonic()
        try:
            with fail_after(self.options.call_seconds):
                status, headers, text = await self._post(body)
        except TimeoutError:
            reason = f"no answer within {self.options.call_seconds:g} s (call_seconds; or lower concurrency)"
            raise CallFailedError(reason, Status.TIMEOUT, heard=False, billed=True) from None
        except CallFailedError as failed:
            failed.counts = failed.reached or self.answered > answered
            raise
        if status != 200:
            raise self._refusal(status, headers, text, body, answered)
        try:
            whole = json.loads(text)
            if isinstance(whole, dict) and whole.get("error") and not whole.get("choices"):
                raise self._refusal(_code(whole["error"]), headers, text, body, answered)
            answer = ChatAnswer.from_server(whole)
        except (ValueError, TypeError, RecursionError) as error:
            wrong = str(error) if type(error) is ValueError else "the answer is no JSON"
            raise CallFailedError(wrong, billed=True) from None
        self.answered += 1
        if request.schema is not None and not request.choices and self._dialect.unsure and answer.finish == "stop":
            well = (await asyncio.to_thread(answer.read, request)).status == Status.OK
            if self._dialect.followed(well) and "response_format" in body:
                raise CallFailedError("the answer does not follow the schema", again=True, billed=True)
        self._look_at_name(whole.get("model"))
        return replace(answer, text=self._without_key(answer.text), seconds=time.monotonic() - started)

    async def models(self, seconds: float = 5.0) -> list[str] | None:
        """The names of the models that the server says it has; None when it does not answer at all.

        Raises ChatError when it does not accept the key, and never did.
        """
        from anyio import fail_after

        try:
            with fail_after(seconds):
                got = await self._connected().get(f"{self.address}/models", headers=self._headers)
                body = got.json() if got.status_code == 200 else {}
        except ValueError:
            body = {}
        except Exception:  # it is asked only whether anything comes back
            return None
        if got.status_code == 401 and not self.answered:
            raise ChatError(f"{self.address}: {self._key_refused().reason}")
        rows = body.get("data") if isinstance(body, dict) else None
        return [str(row["id"]) for row in rows or () if isinstance(row, dict) and "id" in row]

    def forget(self) -> None:
        """In another process: connections cannot be taken along."""
        leave_to_parent(self._connections)
        self._connections = None

    async def close(self) -> None:
        """Ends the connections; the next call makes others."""
        connections, self._connections = self._connections, None
        if connections is not None:
            await connections.aclose()

    def clean(self, text: str) -> str:
        """A text of the server as it may be shown: on one line, not too long, without the key."""
        return self._without_key(" ".join(text.split()))[:300]

    # What is sent -----------------------------------------------------------------------------------------------------

    def _body(self, request: ChatRequest, images: Sequence[Sequence[str]]) -> dict[str, Any]:
        said = self._dialect.messages(request)
        turns = self._dialect.turns([(m.role, m.text, urls) for m, urls in zip(said, [*images, []])])
        messages = [_turn(*each) for each in turns]
        body: dict[str, Any] = {"model": self.model, "messages": messages, "max_tokens": request.max_tokens}
        body["temperature"] = request.temperature
        if request.seed is not None:
            body["seed"] = request.seed
        if request.choices:
            body |= {"logprobs": True, "top_logprobs": CANDIDATES}
        if request.messages[-1].role == "assistant":  # vLLM and SGLang go on from it
            body |= {"continue_final_message": True, "add_generation_prompt": False}
        return self._dialect.adapted(body, request.schema) | dict(self.options.extra)

    async def _post(self, body: Mapping[str, Any]) -> tuple[int, dict[str, str], str]:
        """Status, headers (in lower case) and text. Raises CallFailedError when no whole answer comes back."""
        data = bytearray()
        try:
            content = json.dumps(body).encode()
            request = ("POST", f"{self.address}/chat/completions")
            async with self._connected().stream(*request, content=content, headers=self._headers) as got:
                async for piece in got.aiter_bytes():
                    data += piece
                    if len(data) > LARGEST:
                        reason = f"the answer is larger than {LARGEST / 1e6:g} MB"
                        raise CallFailedError(reason, final=True, billed=True)
            text = data.decode(got.encoding or "utf-8", "replace")
            return int(got.status_code), {name.lower(): value for name, value in got.headers.items()}, text
        except Exception as error:
            if not isinstance(error, OSError) and not any(k.__name__ in _ON_THE_WAY for k in type(error).__mro__):
                raise
            chain = _chain(error)
            never = any(isinstance(one, _NO_CONNECTION) or type(one).__name__ in _NO_CONNECTION_NAMES for one in chain)
            what = f"{'no connection' if never else 'the connection broke'}: {first_line(chain[-1])}"
            raise CallFailedError(what, heard=False, reached=not never, billed=not never) from None

    def _connected(self) -> Any:
        if self._connections is None:
            import openai

            # Our own clock ends a call first.
            settings: dict[str, Any] = {"timeout": self.options.call_seconds + 5, "follow_redirects": False}
            try:
                self._connections = openai.DefaultAioHttpClient(**settings)
            except (AttributeError, ImportError, RuntimeError):  # without aiohttp
                self._connections = openai.DefaultAsyncHttpxClient(**settings)
        return self._connections

    # What comes back --------------------------------------------------------------------------------------------------

    def _refusal(
        self, code: int, headers: Mapping[str, str], text: str, body: Mapping[str, Any], answered: int
    ) -> CallFailedError:
        """What an HTTP status other than 200 means."""
        said = _message(text)
        reason = f"status {code}" + (f": {said}" if said else "")
        if _FILTERED.search(said):
            return CallFailedError(reason, Status.REFUSAL, final=True)
        if self._dialect.learn(code, said, body):
            return CallFailedError(reason, again=True)
        if 300 <= code < 400:  # what is asked must not go where it was not sent
            where = urljoin(f"{self.address}/", headers.get("location", "")).removesuffix("/chat/completions")
            return CallFailedError(f"{reason}: it sends us to {where}; if that is right, use that address", fatal=True)
        if code == 429 and "insufficient_quota" in said:
            return CallFailedError(f"{reason}; the account has no money left", fatal=True)
        if code in (408, 409, 425, 429) or code >= 500:
            absent = code in _ABSENT
            wait = retry_after(headers)
            if wait > self.options.patience:
                reason = reason.replace(f"status {code}", f"status {code} (it asks to wait {wait:.0f} s)", 1)
            return CallFailedError(
                reason, heard=not absent and code != 504, counts=not absent or self.answered > answered, wait=wait,
                limit=code == 429, reached=not absent, billed=code == 504,
            )  # fmt: skip
        if code == 401:  # the text of the server may repeat a part of the key
            return self._key_refused()
        if code in (403, 404) and not self.answered:
            hint = f"is the address right (it mostly ends in /v1), and is there a model {self.model!r}?"
            return CallFailedError(f"{reason}; {hint}", fatal=True)
        return CallFailedError(reason, final=True)

    def _key_refused(self) -> CallFailedError:
        there = "is not accepted" if self._key else "is not set"
        return CallFailedError(f"status 401: the key in the variable {self.options.key_variable} {there}", fatal=True)

    def _look_at_name(self, name: Any) -> None:
        """Warns once of a server that says it is another model than was asked; dates and folders are no difference."""
        if not isinstance(name, str) or self._other_name:
            return
        asked, said = (each.rstrip("/").rpartition("/")[2].casefold() for each in (self.model, name))
        if asked not in said and said not in asked:
            self._other_name = True
            log.warning(
                "%s was asked for the model %s and answers as %s; its answers are kept under the name asked for",
                self.address, self.model, self.clean(name)[:100],
            )  # fmt: skip

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "[key]") if len(self._key) >= 8 else text


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that a server asks to wait, from Retry-After (seconds or a date) or retry-after-ms; 0: it does not."""
    try:
        if "retry-after-ms" in headers:
            wait = float(headers["retry-after-ms"]) / 1000
        else:
            wait = float(headers.get("retry-after", 0))
    except ValueError:
        try:
            wait = parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time()
        except (ValueError, TypeError, KeyError):
            wait = 0.0
    return max(0.0, wait) if math.isfinite(wait) else 0.0


def _turn(role: str, text: str, urls: Sequence[str]) -> dict[str, Any]:
    text = text.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate cannot be sent
    if not urls:
        return {"role": role, "content": text}
    shown = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return {"role": role, "content": [*shown, {"type": "text", "text": text}]}


def _message(text: str) -> str:
    """What the server says went wrong; with the code, where there is one."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return text.strip()
    inner = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(inner, dict):
        parts = [inner.get(name) for name in ("message", "detail", "code", "param")]
        return "; ".join(str(part) for part in parts if part)
    return str(inner or "")


def _code(error: Any) -> int:
    """The status that an error in a body has, which came with status 200."""
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) and 400 <= code < 600 else 400


def _chain(error: BaseException) -> list[BaseException]:
    """An error, what caused it, and so on to the first cause."""
    chain = [error]
    while (below := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(below)
    return chain
