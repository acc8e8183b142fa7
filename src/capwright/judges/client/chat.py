"""`Chat`: requests in, answers out, in order; nothing is asked twice, nothing is lost in silence.

This is the one place where equal requests become one: a request is known by its key, within one `ask` and in the cache.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
import threading
import weakref
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

from capwright.data.cache_dir import cache_folder
from capwright.judges.client.cache import AnswerCache
from capwright.judges.client.http_client import HTTPClient
from capwright.judges.client.images import Fingerprints
from capwright.judges.client.messages import ChatAnswer, ChatDownError, ChatError, ChatRequest
from capwright.judges.client.options import ChatOptions
from capwright.judges.client.processes import leave_to_parent, processes, renewed_after_fork
from capwright.judges.client.server import Done, Server
from capwright.judges.client.usage import Cost, Usage
from capwright.types import ImageError, Status

#: Version of how requests become prompts and of what is kept; part of every key.
_FORMAT = "2"
#: How long the end of a call may take that was cancelled.
_LAST_SECONDS = 5.0
_Result = TypeVar("_Result")


class Backend(Protocol):
    """What does the asking: a server, or a model in this process."""

    async def run(self, requests: Sequence[ChatRequest], done: Done, seconds: float | None) -> None: ...

    async def close(self) -> None: ...


class Chat:
    """One OpenAI-compatible server, or a local model, that can be asked many things at once.

    Args:
        address: "http://host:port/v1" of a server, or "local:FOLDER" (or "local:" and an id of the hub) for a
            transformers model in this process.
        model: name of the model at the server; not needed where it has one only. Local models have it in their address.
        options: those of `ChatOptions`: key_variable, concurrency, call_seconds, step_seconds, retries, patience,
            requests_per_minute, tokens_per_minute, prices, budget, cache, cache_mb, cache_days, max_pixels, extra; and
            device and dtype of a local model.

    The same request is asked once, within one `ask` and ever after: ask with another `seed` for another draw.
    A Chat may be used by several threads, which take turns.

    Raises:
        ChatError: the address, the model or an option cannot be used.
    """

    def __init__(self, address: str, model: str = "", **options: Any) -> None:
        self.address = _checked_address(address)
        self.options = given = ChatOptions.checked(self.address, options)
        self.account = Usage(given.prices, None if given.budget is None else given.budget / processes())
        self._backend: Backend
        if self.address.startswith("local:"):
            from capwright.judges.client.local import LocalModel

            if model or given.extra:
                raise ChatError(
                    f"{self.address}: model and extra are for servers; a local model has its name in the address"
                )
            local = LocalModel(self.address.removeprefix("local:"), given, self.account)
            self.model, self._backend = local.name, local
        else:
            if find_spec("openai") is None:
                raise ChatError(
                    f"{self.address}: asking a server needs the extra judge: pip install 'capwright[judge]'"
                )
            if not model or not isinstance(model, str):
                model = _only_model(self.address, given)
            self.model, self._backend = model, Server(self.address, model, given, self.account)
        self._shared = [_FORMAT, self.model, dict(given.extra), given.max_pixels]
        path = given.cache
        folder = None if path is None else cache_folder() if path == "default" else Path(path).expanduser()
        self.cache = None if folder is None else AnswerCache(folder, limit_mb=given.cache_mb, days=given.cache_days)
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
            keys, lost = self._keys(requests)
            first = {key: request for key, request in zip(keys, requests) if key}
            answers = self._kept(first)
            self.account.hit(len(answers))
            if left := {key: request for key, request in first.items() if key not in answers}:
                answers |= self._fetch(left)
            return [answers[key] if key else lost[place] for place, key in enumerate(keys)]

    def estimate(self, requests: Sequence[ChatRequest]) -> Cost:
        """What asking would cost, without asking; answers in the cache cost nothing."""
        keys, _ = self._keys(requests)
        first = {key: request for key, request in zip(keys, requests) if key}
        known = self.cache.get(list(first)) if self.cache else {}
        return self.account.estimate([r for key, r in first.items() if key not in known], len(known))

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

    def _kept(self, first: Mapping[bytes, ChatRequest]) -> dict[bytes, ChatAnswer]:
        """Answers from the cache, by key."""
        answers: dict[bytes, ChatAnswer] = {}
        for key, kept in (self.cache.get(list(first)) if self.cache else {}).items():
            with contextlib.suppress(KeyError, TypeError, ValueError):  # written by another version, or damaged
                answers[key] = ChatAnswer.from_json(kept).read(first[key])
        return answers

    def _fetch(self, first: Mapping[bytes, ChatRequest]) -> dict[bytes, ChatAnswer]:
        """Answers of the backend, by key; those of use go into the cache as they come."""
        keys = list(first)
        answers: dict[bytes, ChatAnswer] = {}
        kept = 0

        def keep(place: int, answer: ChatAnswer) -> None:
            nonlocal kept
            read = answer.read(first[keys[place]])
            # A fault may heal: what could not be read is asked again the next time.
            if self.cache is not None and answer.status == Status.OK and read.status != Status.UNPARSEABLE:
                kept += self.cache.put({keys[place]: answer.to_json()})
            answers[keys[place]] = read  # after it is kept: what was used once is never asked again

        try:
            # In a thread of its own: neither a long answer nor a slow disk holds up the calls.
            with ThreadPoolExecutor(1, "capwright-answers") as reader:
                reading: list[Future[None]] = []

                def done(place: int, answer: ChatAnswer) -> Future[None]:
                    reading.append(reader.submit(keep, place, answer))
                    return reading[-1]

                self._loop.run(self._backend.run(list(first.values()), done, self.options.step_seconds))
        except ChatDownError as error:
            came = kept if self.cache else sum(answer.status == Status.OK for answer in answers.values())
            where = " and are in the cache" if kept else ""
            raise ChatDownError(f"{error}; {came:,} of {len(keys):,} answers had come{where}") from None
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
        for each in reading:
            each.result()
        return answers

    def _keys(self, requests: Sequence[ChatRequest]) -> tuple[list[bytes | None], dict[int, ChatAnswer]]:
        """A key for each request; None where an image is missing, with the answer that says so."""
        keys: list[bytes | None] = []
        lost = {}
        for place, request in enumerate(requests):
            try:
                request.check()
                keys.append(self._key(request))
            except ImageError as error:
                keys.append(None)
                lost[place] = ChatAnswer(Status.MISSING_IMAGE, reason=str(error))
            except ChatError as error:
                raise ChatError(f"{self.address}: {error}") from None
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


def _only_model(address: str, options: ChatOptions) -> str:
    """The model of a server that has one. Raises ChatError, with the names that it has, when it cannot be told."""
    http, loop = HTTPClient(address, "", options), LoopThread()
    try:
        names = loop.run(http.models(seconds=10)) or []
    finally:
        loop.end(http.close())
    if len(names) == 1:
        return names[0]
    shown = f" (it has {', '.join(names[:10])}{', ...' if len(names) > 10 else ''})" if names else ""
    raise ChatError(
        f"{address}: say which model to ask, by the name it has at the server{shown}: model=NAME; on the command line "
        f"--set SCORER.judge='{{name: {address}, model: NAME}}', or where --judge names who is asked --set "
        "judge.model=NAME"
    )


def _let_go(loop: LoopThread, backend: Backend) -> None:
    """Closes what this process opened; what a parent opened before a fork is the parent's."""
    loop.end(backend.close())


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


class LoopThread:
    """Runs coroutines to their end, one call at a time; the thread starts on first use, and anew after a fork."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self.after_fork()
        renewed_after_fork(self)

    def after_fork(self) -> None:
        """In a child the thread does not run, and what it was asked for is the parent's."""
        leave_to_parent(self._loop)
        self._loop = None
        self._call: Future[Any] | None = None
        self._lock = threading.Lock()

    def run(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """What `work` gives. Ctrl-C cancels it."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=_run, args=(self._loop,), name="capwright-chat", daemon=True)
                self._thread.start()
            ended = threading.Event()
            self._call = future = asyncio.run_coroutine_threadsafe(_told(work, ended), self._loop)
            try:
                return future.result()
            except BaseException:
                future.cancel()
                ended.wait(_LAST_SECONDS)  # from here on nothing is answered any more
                raise
            finally:
                self._call = None

    def end(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs a last coroutine and ends the thread; the next `run` starts another.

        A call that is under way then is of a thread that the end of the program does not wait for; it is cancelled.
        """
        call = self._call
        if call is not None:
            call.cancel()
        with self._lock:
            loop, self._loop = self._loop, None
            if loop is None:
                work.close()
                return
            last = asyncio.run_coroutine_threadsafe(work, loop)
            last.add_done_callback(lambda _: loop.call_soon_threadsafe(loop.stop))
            if threading.current_thread() is not self._thread:  # the garbage collector may call us from anywhere
                with contextlib.suppress(Exception):
                    last.result(timeout=_LAST_SECONDS)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()


async def _told(work: Coroutine[Any, Any, _Result], ended: threading.Event) -> _Result:
    try:
        return await work
    finally:
        ended.set()
