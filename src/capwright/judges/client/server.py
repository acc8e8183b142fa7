"""One OpenAI-compatible server: many calls at once, each tried until it is answered or given up.

What can go wrong, and what becomes of it:

* a limit (429): everybody waits as long as the server asks (Retry-After), but not longer than `patience`, then the call
  is tried again, for `patience` seconds, then "judge_error";
* an error of the server (500) or an answer that is no chat completion: tried again, then "judge_error";
* no answer within `call_seconds`, however slowly bytes drip in: tried again, then "timeout";
* a connection that breaks, or a proxy that gives up (504): tried again, then "judge_error";
* no server there (refused, 502, 503): tried again, without counting as long as other calls are not answered either;
* no call answered for `patience` seconds, or all of them with 429 or errors: `ChatDownError` for all, unless it was one
  call alone (or two), on which the server may have choked, or which is too large for its limit;
* an answer larger than 8 MB: "judge_error";
* the key is refused, the model is not there, the money is used up: `ChatError` for all;
* a parameter that the server does not know: left out from then on, with a warning.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import math
import os
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any

from capwright.judges.client.completions import CANDIDATES, RawCompletion, said_by_server
from capwright.judges.client.http_client import LARGEST, BrokenError, HTTPClient, Reply, TooLargeError
from capwright.judges.client.images import data_url
from capwright.judges.client.messages import BudgetError, ChatError, ChatRequest, Message
from capwright.judges.client.outage_detector import OutageDetector
from capwright.judges.client.rate_limiter import RateLimiter
from capwright.judges.client.usage import Usage, prompt_tokens
from capwright.types import ImageError

log = logging.getLogger("capwright")

#: Waits before another try, in seconds: the first, and the longest.
_FIRST_WAIT, _LONGEST_WAIT = 0.25, 8.0
#: What a proxy says when no server is behind it.
_ABSENT = (502, 503)
#: After a fork: clients of the parent. To close them, or to let them be collected, would disturb its connections.
_OF_PARENTS: list[HTTPClient] = []
#: Parameters that some servers refuse, and what is sent instead (None: nothing).
_OPTIONAL: dict[str, str | None] = {
    "response_format": None, "top_logprobs": None, "logprobs": None, "seed": None, "temperature": None,
    "max_tokens": "max_completion_tokens", "continue_final_message": None, "add_generation_prompt": None,
}  # fmt: skip
_UNKNOWN = re.compile(
    r"not support|unsupported|un(known|recognized|expected)|not (permitted|allowed|available|implemented)|extra ",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class CallResult:
    """What became of a call: `said`, or a status and a reason."""

    said: RawCompletion | None
    status: str = "ok"
    reason: str = ""
    seconds: float = 0.0


Done = Callable[[int, CallResult], None]


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How a server is asked; `Chat` describes them."""

    key_variable: str = "OPENAI_API_KEY"
    concurrency: int = 16
    call_seconds: float = 120.0
    retries: int = 5
    patience: float = 60.0
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    max_pixels: int | None = None
    extra: Mapping[str, Any] | None = None


class Server:
    """A server that speaks /chat/completions at `address`."""

    def __init__(self, address: str, model: str, options: ServerOptions, account: Usage) -> None:
        self.address = address.rstrip("/")
        self.model = model
        self.options = options
        self.account = account
        self._pace = RateLimiter(options.requests_per_minute, options.tokens_per_minute, processes())
        self._key = os.environ.get(options.key_variable, "").strip()
        if not (self._key.isascii() and self._key.isprintable()):  # what refuses it later would show it
            where = options.key_variable
            raise ChatError(f"{self.address}: the key in the variable {where} has signs that no key has; set it again")
        self._wire: HTTPClient | None = None
        self._refused: set[str] = set()
        self._answered = 0
        self._other_name = False
        self._under_way = 0
        self._patience = OutageDetector(self.address, options.patience, options.call_seconds)

    async def run(self, requests: Sequence[ChatRequest], done: Done, seconds: float | None) -> None:
        """Ask all; `done(place, outcome)` as they come. What is not done after `seconds` is a "timeout".

        Raises:
            ChatError: nothing more can be had; what came before was handed to `done`.
        """
        self._patience.begin()
        waiting = iter(range(len(requests)))
        open_calls: set[int] = set()
        workers = [
            asyncio.ensure_future(self._worker(requests, waiting, open_calls, done))
            for _ in range(min(self.options.concurrency, len(requests)))
        ]
        try:
            ended, running = await asyncio.wait(workers, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
            failure = next((task.exception() for task in ended if task.exception()), None)
            if isinstance(failure, BudgetError) and running:  # what is under way is paid for
                for _ in waiting:
                    pass
                await asyncio.wait(running, timeout=seconds)
            if failure is not None:
                raise failure
            if running:
                reason = f"the step was over after {seconds:g} s"
                for place in sorted([*open_calls, *waiting]):
                    done(place, CallResult(None, "timeout", reason))
        finally:
            for task in workers:
                task.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            self._patience.leave()

    def forget(self) -> None:
        """Another event loop, or another process: connections cannot be taken along."""
        if self._wire is not None:
            _OF_PARENTS.append(self._wire)
        self._wire = None
        self._under_way = 0

    async def close(self) -> None:
        """Ends connections."""
        if self._wire is not None:
            await self._wire.close()
            self._wire = None

    async def _worker(
        self, requests: Sequence[ChatRequest], waiting: Iterator[int], open_calls: set[int], done: Done
    ) -> None:
        for place in waiting:
            open_calls.add(place)
            outcome = await self._call(requests[place])
            open_calls.discard(place)
            done(place, outcome)

    async def _call(self, request: ChatRequest) -> CallResult:
        """One request, tried until there is an outcome."""
        try:
            images = [
                [await asyncio.to_thread(data_url, path, self.options.max_pixels) for path in message.images]
                for message in request.messages
            ]
        except ImageError as error:
            return CallResult(None, "missing_image", str(error))
        tokens = prompt_tokens(request, 0) + request.max_tokens
        rng: random.Random | None = None
        failures = waits = 0
        limited: float | None = None  # since when the server has said that we ask too much
        while True:
            await self._pace.turn(tokens)
            reserved = self.account.reserve(request)
            started = time.monotonic()
            try:
                said = await self._try(request, images)
            except _Failed as failed:
                self.account.lose(reserved, billed=failed.billed)
                reason = self._clean(failed.reason)
                self._note(failed, started, reason, request)
                if failed.fatal:
                    raise ChatError(f"{self.address}: {reason}") from None
                if failed.again:
                    continue
                failures += failed.counts and not failed.limit
                limited = (limited or started) if failed.limit else None
                too_long = limited is not None and time.monotonic() - limited > self.options.patience
                too_long &= not self._patience.undecided
                if failures > self.options.retries or failed.final or too_long:
                    return CallResult(None, failed.status, reason)
                waits += 1
                rng = rng or _dice(request)
                backoff = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(waits - 1, 10)) * (0.5 + rng.random() / 2)
                wait = min(failed.wait, self.options.patience)
                if wait:
                    self._pace.hold(wait)
                await asyncio.sleep(max(backoff, wait))
                continue
            except BaseException:
                self.account.lose(reserved, billed=True)
                raise
            seconds = time.monotonic() - started
            self._patience.heard()
            self._answered += 1
            self.account.settle(reserved, request, said.tokens_in, said.tokens_out, seconds)
            return CallResult(said, seconds=seconds)

    async def _try(self, request: ChatRequest, images: list[list[str]]) -> RawCompletion:
        """One try over the wire. Raises _Failed for everything that may happen there."""
        from anyio import fail_after  # comes with openai; asyncio.wait_for makes a task of every call, which takes time

        body = self._body(request, images)
        answered = self._answered
        if self._wire is None:
            self._wire = HTTPClient(
                self.address, self._key, self.options.call_seconds + 5
            )  # our own clock ends a call first
        self._under_way += 1
        try:
            with fail_after(self.options.call_seconds):
                reply = await self._wire.post(body)
        except TimeoutError:
            reason = f"no answer within {self.options.call_seconds:g} s"
            raise _Failed("timeout", reason, heard=False, billed=True) from None
        except BrokenError as error:
            counts = error.reached or self._answered > answered
            raise _Failed("judge_error", str(error), heard=False, counts=counts, reached=error.reached,
                          billed=error.reached) from None  # fmt: skip
        except TooLargeError:
            reason = f"the answer is larger than {LARGEST / 1e6:g} MB"
            raise _Failed("judge_error", reason, final=True, billed=True) from None
        finally:
            self._under_way -= 1
        if reply.status != 200:
            raise self._refusal(reply, body, answered)
        try:
            whole = json.loads(reply.text)
            said = said_by_server(whole)
        except (ValueError, TypeError, RecursionError) as error:
            wrong = str(error) if type(error) is ValueError else "the answer is no JSON"
            raise _Failed("judge_error", wrong, billed=True) from None
        self._look_at_name(whole.get("model"))
        return RawCompletion(self._without_key(said.text), said.finish, said.tokens, said.tokens_in, said.tokens_out)

    def _refusal(self, reply: Reply, body: Mapping[str, Any], answered: int) -> _Failed:
        """What an HTTP status other than 200 means."""
        code = reply.status
        said = _message(reply.text)
        reason = f"status {code}" + (f": {said}" if said else "")
        if code in (400, 422) and self._leave_out(said, body):
            return _Failed("judge_error", reason, again=True)
        if code == 429 and "insufficient_quota" in said:
            return _Failed("judge_error", f"{reason}; the account has no money left", fatal=True)
        if code in (408, 409, 425, 429) or code >= 500:
            absent = code in _ABSENT
            wait = retry_after(reply.headers)
            if wait > self.options.patience:
                reason = reason.replace(f"status {code}", f"status {code} (it asks to wait {wait:.0f} s)", 1)
            counts = not absent or self._answered > answered
            return _Failed("judge_error", reason, heard=not absent and code != 504, counts=counts, wait=wait,
                           limit=code == 429, reached=not absent, billed=code == 504)  # fmt: skip
        if code == 401:  # the text of the server may repeat a part of the key
            name = self.options.key_variable
            there = "is not accepted" if self._key else "is not set"
            return _Failed("judge_error", f"status 401: the key in the variable {name} {there}", fatal=True)
        if code in (403, 404) and not self._answered:
            hint = f"is the address right (it mostly ends in /v1), and is there a model {self.model!r}?"
            return _Failed("judge_error", f"{reason}; {hint}", fatal=True)
        return _Failed("judge_error", reason, final=True)

    def _leave_out(self, said: str, body: Mapping[str, Any]) -> bool:
        """Whether a parameter that the server complains about can be left out; it is, from now on."""
        if not _UNKNOWN.search(said):  # "max_tokens is too large" is no reason to leave it out
            return False
        words = said.lower().replace("json_schema", "response_format").replace("guided", "response_format")
        for name in _OPTIONAL:
            if name in words and name in body and name not in (self.options.extra or {}):
                if name not in self._refused:
                    self._refused.add(name)
                    other = _OPTIONAL[name]
                    log.warning(
                        "%s does not take %s; %s", self.address, name, f"{other} is sent" if other else "left out"
                    )
                return True
        return False

    def _body(self, request: ChatRequest, images: list[list[str]]) -> dict[str, Any]:
        in_words = "response_format" in self._refused
        said = with_schema_in_words(request) if in_words else request.messages
        messages = [_turn(m.role, m.text, urls) for m, urls in zip(said, [*images, []])]
        body: dict[str, Any] = {"model": self.model, "messages": messages, "max_tokens": request.max_tokens}
        body["temperature"] = request.temperature
        if request.seed is not None:
            body["seed"] = request.seed
        if request.choices:
            body |= {"logprobs": True, "top_logprobs": CANDIDATES}
        if request.messages[-1].role == "assistant":  # vLLM and SGLang go on from it
            body |= {"continue_final_message": True, "add_generation_prompt": False}
        if request.schema is not None and not in_words:
            shape = {"name": "answer", "schema": request.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": shape}
        for name in self._refused & body.keys():
            value, other = body.pop(name), _OPTIONAL[name]
            if other:
                body[other] = value
        return body | dict(self.options.extra or {})

    def _note(self, failed: _Failed, started: float, reason: str, request: ChatRequest) -> None:
        """What a failed try says about the server. Raises ChatDownError when our patience is over."""
        what = request.messages if failed.reached else object()
        if not failed.heard:
            self._patience.silent(started, reason, what)
        elif failed.final or failed.again or failed.fatal:  # an answer about this call
            self._patience.heard()
        else:
            self._patience.refused(started, reason, what, self._under_way, failed.limit)

    def _look_at_name(self, name: Any) -> None:
        """Warns once of a server that says it is another model than was asked; dates and folders are no difference."""
        if not isinstance(name, str) or self._other_name:
            return
        asked, said = (each.rstrip("/").rpartition("/")[2].casefold() for each in (self.model, name))
        if asked not in said and said not in asked:
            self._other_name = True
            log.warning(
                "%s was asked for the model %s and answers as %s; its answers are kept under the name asked for",
                self.address, self.model, self._clean(name)[:100],
            )  # fmt: skip

    def _clean(self, text: str) -> str:
        return self._without_key(" ".join(text.split()))[:300]

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "[key]") if len(self._key) >= 8 else text


class _Failed(Exception):
    """A try that came to nothing."""

    def __init__(
        self, status: str, reason: str, *, heard: bool = True, counts: bool = True, wait: float = 0.0,
        final: bool = False, fatal: bool = False, again: bool = False, limit: bool = False, reached: bool = True,
        billed: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(reason)
        self.status, self.reason, self.heard, self.counts, self.wait = status, reason, heard, counts, wait
        self.final, self.fatal, self.again, self.limit, self.reached = final, fatal, again, limit, reached
        self.billed = billed  # the server may have answered, and want its money


def _dice(request: ChatRequest) -> random.Random:
    """Jitter of the waits, the same in every run."""
    content = repr((request.messages, request.seed))
    return random.Random(hashlib.blake2b(content.encode("utf-8", "replace")).digest())


def processes() -> int:
    """How many processes of this run share a server's limits and our budget: WORLD_SIZE, or 1."""
    size = os.environ.get("WORLD_SIZE", "1")
    return max(1, int(size)) if size.isdigit() else 1


def with_schema_in_words(request: ChatRequest) -> tuple[Message, ...]:
    """The messages, for models that take no schema: it stands at the end of what the user says last.

    It is no message of its own, because many chat templates want user and judge to take turns.
    """
    if request.schema is None:
        return request.messages
    shape = json.dumps(dict(request.schema))
    words = f"Answer with one JSON value that follows this JSON schema, and with nothing else:\n{shape}"
    last = request.messages[-1]
    if last.role != "user":
        return (*request.messages, Message("user", words))
    return (*request.messages[:-1], replace(last, text=f"{last.text}\n\n{words}"))


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
