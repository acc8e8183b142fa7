"""`Chat`: questions in, answers out, in order; nothing is asked twice, nothing is lost in silence."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import math
import re
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from capwright.data.cache_dir import cache_folder
from capwright.judges.client.cache import LIMIT_MB, AnswerCache
from capwright.judges.client.completions import RawCompletion, read
from capwright.judges.client.fork_safety import renewed_after_fork
from capwright.judges.client.images import Fingerprints
from capwright.judges.client.loop import LoopThread
from capwright.judges.client.messages import ROLES, ChatAnswer, ChatDownError, ChatError, ChatRequest
from capwright.judges.client.schema import check_schema
from capwright.judges.client.server import CallResult, Done, Server, ServerOptions, processes
from capwright.judges.client.usage import Cost, Prices, Usage
from capwright.types import ImageError

#: Version of how requests become prompts and of what is kept; part of every key.
_FORMAT = "2"
#: Answers are written to the cache after so many, or so many seconds.
_WRITE_AFTER, _WRITE_SECONDS = 100, 2.0
_MAY_BE_NONE = (
    "step_seconds", "requests_per_minute", "tokens_per_minute", "budget", "cache_days", "max_pixels",
)  # fmt: skip


class Backend(Protocol):
    """What does the asking: a server, or a model in this process."""

    async def run(self, requests: Sequence[ChatRequest], done: Done, seconds: float | None) -> None: ...

    def forget(self) -> None: ...

    async def close(self) -> None: ...


class Chat:
    """One OpenAI-compatible server, or a local model, that can be asked many things at once.

    Args:
        address: "http://host:port/v1" of a server, or "local:FOLDER" (or "local:" and an id of the hub) for a
            transformers model in this process.
        model: name of the model at the server; local models have it in their address.
        key_variable: environment variable with the key of the server; it may be unset where none is needed. A key is
            given in no other way.
        concurrency: calls under way at once, of this process.
        call_seconds: the most that one try of one call may take, to its last byte.
        step_seconds: the most that one `ask` may take; what is not answered then is a "timeout". None: no limit.
        retries: further tries after a failure that the server answered with, or a timeout.
        patience: seconds without any answer until the server counts as down. While the server is away calls are tried
            again and again; failures of this kind do not use up `retries`.
        requests_per_minute, tokens_per_minute: limits of the server, for all processes together (WORLD_SIZE).
        prices, budget: what tokens cost (`Prices`, or a mapping of its fields), and the most that may be spent by all
            processes together.
        cache: "default" is the user's cache folder (`capwright cache`), None keeps nothing, otherwise a folder.
        cache_mb, cache_days: size limit of the cache and the age beyond which answers are not used.
        max_pixels: larger images are scaled down before they are sent.
        extra: further fields of the request's body, such as {"top_p": 0.9}; part of the cache key.
        device, dtype: of a local model.

    The same request is asked once, within one `ask` and ever after: ask with another `seed` for another draw.
    A Chat may be used by several threads, which take turns.

    Raises:
        ChatError: the address, the model or an option cannot be used.
    """

    def __init__(
        self,
        address: str,
        model: str = "",
        *,
        key_variable: str = "OPENAI_API_KEY",
        concurrency: int = 16,
        call_seconds: float = 120.0,
        step_seconds: float | None = None,
        retries: int = 5,
        patience: float = 60.0,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        prices: Prices | Mapping[str, Any] | None = None,
        budget: float | None = None,
        cache: str | Path | None = "default",
        cache_mb: float = LIMIT_MB,
        cache_days: float | None = None,
        max_pixels: int | None = None,
        extra: Mapping[str, Any] | None = None,
        device: str | None = None,
        dtype: str = "float32",
    ) -> None:
        self.address = _checked_address(address)
        self.step_seconds = step_seconds
        _check_options(locals())
        if prices is not None and not isinstance(prices, Prices):
            try:
                prices = Prices(**prices)
            except TypeError:
                raise ChatError(f"{self.address}: prices are input, output and image_tokens, not {prices!r}") from None
        if budget is not None and prices is None:
            raise ChatError(f"{self.address}: a budget needs prices, for example prices={{input: 0.15, output: 0.6}}")
        self.account = Usage(prices, None if budget is None else budget / processes())
        self._backend: Backend
        if self.address.startswith("local:"):
            from capwright.judges.client.local import LocalModel

            if model or extra:
                raise ChatError(
                    f"{self.address}: model and extra are for servers; a local model has its name in the address"
                )
            local = LocalModel(
                self.address.removeprefix("local:"), self.account, device=device, dtype=dtype,
                call_seconds=call_seconds, max_pixels=max_pixels,
            )  # fmt: skip
            self.model, self._backend = local.name, local
        else:
            if not model:
                raise ChatError(
                    f"{self.address}: say which model to ask, by the name it has at the server: model=NAME; on the "
                    f"command line --set SCORER.judge='{{name: {self.address}, model: NAME}}', or where --judge"
                    " names who is asked --set judge.model=NAME"
                )
            if not _installed("openai"):
                raise ChatError(
                    f"{self.address}: asking a server needs the extra judge: pip install 'capwright[judge]'"
                )
            options = ServerOptions(
                key_variable, concurrency, call_seconds, retries, patience, requests_per_minute, tokens_per_minute,
                max_pixels, extra,
            )  # fmt: skip
            self.model, self._backend = model, Server(self.address, model, options, self.account)
        self._shared = [_FORMAT, self.model, dict(extra or {}), max_pixels]
        try:
            json.dumps(self._shared)
        except (TypeError, ValueError) as error:
            raise ChatError(f"{self.address}: extra must hold JSON values: {error}") from None
        folder = cache_folder() if cache == "default" else None if cache is None else Path(cache).expanduser()
        self.cache = None if folder is None else AnswerCache(folder, limit_mb=cache_mb, days=cache_days)
        self._fingerprints = Fingerprints()
        self._loop = LoopThread()
        self.after_fork()
        renewed_after_fork(self)
        weakref.finalize(self, _let_go, self._loop, self._backend)  # also at the end of the program

    def after_fork(self) -> None:
        """In a child a thread of the parent may have held the lock."""
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """The model, with what else can change its answers: "toy;extra=5f0c9a1e;pixels=100000"."""
        _, model, extra, pixels = self._shared
        digest = hashlib.sha256(json.dumps(extra, sort_keys=True).encode()).hexdigest()[:8]
        return f"{model}{f';extra={digest}' if extra else ''}{f';pixels={pixels}' if pixels else ''}"

    def __repr__(self) -> str:
        return f"Chat({self.address!r}, {self.model!r})"

    def ask(self, requests: Sequence[ChatRequest]) -> list[ChatAnswer]:
        """One answer for each request, in order. A failed call is an answer with a status and a reason.

        Raises:
            ChatDownError: the server did not answer for longer than `patience`, or said "too much" to everything.
                What was answered before is in the cache.
            BudgetError: the next call could cost more than what is left.
            ChatError: the server refuses the key, has no such model, or a request cannot be understood.
        """
        with self._lock:
            return self._ask(requests)

    def estimate(self, requests: Sequence[ChatRequest]) -> Cost:
        """What asking would cost, without asking; answers in the cache cost nothing."""
        keys, _ = self._keys(requests)
        first = {key: request for key, request in zip(keys, requests) if key}
        known = self.cache.get(list(first)) if self.cache else {}
        return self.account.estimate([r for key, r in first.items() if key not in known], len(known))

    def known(self, requests: Sequence[ChatRequest]) -> list[ChatAnswer | None]:
        """The answer in the cache to each request, or of an image that is missing; None where one has to ask."""
        keys, lost = self._keys(requests)
        answers = self._kept({key: request for key, request in zip(keys, requests) if key})
        return [answers.get(key) if key else lost[place] for place, key in enumerate(keys)]

    def close(self) -> None:
        """Ends connections and the thread. Asking again opens them anew."""
        with self._lock:
            _let_go(self._loop, self._backend)
            if self.cache:
                self.cache.close()

    def __enter__(self) -> Chat:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, requests: Sequence[ChatRequest]) -> list[ChatAnswer]:
        keys, lost = self._keys(requests)
        first = {key: request for key, request in zip(keys, requests) if key}
        answers = self._kept(first)
        self.account.hit(len(answers))
        open_keys = [key for key in first if key not in answers]
        if open_keys:
            answers |= self._fetch(open_keys, [first[key] for key in open_keys])
        return [answers[key] if key else lost[place] for place, key in enumerate(keys)]

    def _kept(self, first: Mapping[bytes, ChatRequest]) -> dict[bytes, ChatAnswer]:
        """Answers from the cache, by key."""
        answers: dict[bytes, ChatAnswer] = {}
        for key, kept in (self.cache.get(list(first)) if self.cache else {}).items():
            try:
                answers[key] = dataclasses.replace(read(RawCompletion.from_json(kept), first[key]), cached=True)
            except (KeyError, TypeError, ValueError):  # written by another version, or damaged
                continue
        return answers

    def _fetch(self, keys: list[bytes], requests: list[ChatRequest]) -> dict[bytes, ChatAnswer]:
        answers: dict[bytes, ChatAnswer] = {}
        keeper = _Keeper(self.cache)

        def done(place: int, outcome: CallResult) -> None:
            answers[keys[place]] = answer = _answer(outcome, requests[place])
            # A fault may heal: what could not be read is asked again the next time.
            if outcome.said is not None and answer.status != "unparseable":
                keeper.keep(keys[place], outcome.said)

        if self._loop.fresh:  # connections of an earlier loop, or of the parent before a fork, are of no use
            self._backend.forget()
        try:
            self._loop.run(self._backend.run(requests, done, self.step_seconds))
        except ChatDownError as error:
            kept = " and are in the cache" if self.cache else ""
            raise ChatDownError(f"{error}; {len(answers):,} of {len(keys):,} answers had come{kept}") from None
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
        finally:
            keeper.flush()
        return answers

    def _keys(self, requests: Sequence[ChatRequest]) -> tuple[list[bytes | None], dict[int, ChatAnswer]]:
        """A key for each request; None where an image is missing, with the answer that says so."""
        keys: list[bytes | None] = []
        lost = {}
        for place, request in enumerate(requests):
            _check(request, self.address)
            try:
                keys.append(self._key(request))
            except ImageError as error:
                keys.append(None)
                lost[place] = ChatAnswer("missing_image", reason=str(error))
        return keys, lost

    def _key(self, request: ChatRequest) -> bytes:
        """sha256 of model, parameters, prompt, the bytes of images, and the version of the prompt."""
        messages = [[m.role, m.text, [self._fingerprints.of(path) for path in m.images]] for m in request.messages]
        whole = [
            *self._shared, messages, request.max_tokens, request.temperature, request.seed, request.schema,
            request.choices, request.protocol,
        ]  # fmt: skip
        text = json.dumps(whole, sort_keys=True, ensure_ascii=True, default=dict)
        return hashlib.sha256(text.encode("ascii")).digest()


def _let_go(loop: LoopThread, backend: Backend) -> None:
    """Closes what this process opened; what a parent opened before a fork is the parent's."""
    loop.end(backend.close())


class _Keeper:
    """Writes answers to the cache in batches, so that fast servers do not wait for the disk."""

    def __init__(self, cache: AnswerCache | None) -> None:
        self._cache = cache
        self._held: dict[bytes, dict[str, Any]] = {}
        self._last = time.monotonic()

    def keep(self, key: bytes, said: RawCompletion) -> None:
        self._held[key] = said.to_json()
        if len(self._held) >= _WRITE_AFTER or time.monotonic() - self._last > _WRITE_SECONDS:
            self.flush()

    def flush(self) -> None:
        if self._cache is not None and self._held:
            self._cache.put(self._held)
        self._held, self._last = {}, time.monotonic()


def _answer(outcome: CallResult, request: ChatRequest) -> ChatAnswer:
    if outcome.said is None:
        return ChatAnswer(outcome.status, reason=outcome.reason)
    return dataclasses.replace(read(outcome.said, request), seconds=outcome.seconds)


def _check(request: ChatRequest, address: str) -> None:
    """Mistakes in the prompt itself; they are errors, not statuses."""
    if not request.messages:
        raise ChatError(f"{address}: a request without messages")
    for message in request.messages:
        if message.role not in ROLES:
            raise ChatError(f"{address}: role {message.role!r} is none of {', '.join(ROLES)}")
    if request.max_tokens < 1 or not 0 <= request.temperature <= 2:
        raise ChatError(f"{address}: max_tokens must be 1 or more, temperature from 0 to 2")
    if request.schema is not None:
        try:
            check_schema(request.schema)
        except ValueError as error:
            raise ChatError(f"{address}: {error}") from None


def _checked_address(address: str) -> str:
    """The address without a slash at its end. One that holds a secret is refused, and not repeated."""
    if address.startswith("local:") and len(address) > len("local:"):
        return address
    try:
        parts = urlsplit(address)
        secret = bool(parts.username or parts.password or parts.query)
        usable = parts.port != 0 and bool((parts.hostname or "").encode("idna")) and address.isprintable()
    except ValueError:  # brackets, a port or a name that cannot be
        secret, usable = "@" in address, False
    if secret:
        raise ChatError("an address may not hold a user, a password or a query: put the key into the environment")
    if not usable or not re.fullmatch(r"https?://[^/\s]+(/\S*)?", address):
        raise ChatError(f"{address!r} is no address: use http://host:port/v1, or local:FOLDER")
    return address.rstrip("/")


def _check_options(given: Mapping[str, Any]) -> None:
    """Raises ChatError for an option of the wrong kind or size."""
    for name in ("concurrency", "call_seconds", "retries", "patience", "cache_mb", *_MAY_BE_NONE):
        value = given[name]
        if value is None and name in _MAY_BE_NONE:
            continue
        least = "0 or more" if name in ("retries", "patience", "budget") else "above 0"
        number = isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
        if not number or value < 0 or (value == 0 and least == "above 0"):
            raise ChatError(f"{name} must be a number {least}, not {value!r}")
        if name in ("concurrency", "max_pixels") and not isinstance(value, int):
            raise ChatError(f"{name} must be a whole number, not {value!r}")
        if name == "call_seconds" and math.isinf(value):
            raise ChatError("call_seconds must come to an end; a server that hangs would never be noticed")
    if not isinstance(given["model"], str) or not isinstance(given["key_variable"], str):
        raise ChatError(f"model and key_variable are names, not {given['model']!r} and {given['key_variable']!r}")
    if not isinstance(given["cache"], str | Path | None):
        raise ChatError(f'cache is "default", a folder or null, not {given["cache"]!r}')
    if given["extra"] is not None and not isinstance(given["extra"], Mapping):
        raise ChatError(f"extra must be a mapping of fields of the request, not {given['extra']!r}")


def _installed(package: str) -> bool:
    from importlib.util import find_spec

    return find_spec(package) is not None
