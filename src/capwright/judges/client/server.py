"""One OpenAI-compatible server: many calls at once, each tried until it is answered or given up.

What can go wrong, and what becomes of it:

* a limit (429): everybody waits as long as the server asks (Retry-After), but not longer than `patience`, then the call
  is tried again, for `patience` seconds, then "judge_error";
* an error of the server (500) or an answer that is no chat completion: tried again, then "judge_error";
* no answer within `call_seconds`, however slowly bytes drip in: tried again, then "timeout"; a server that still says
  which models it has is slow, and not down;
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
import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future

from capwright.judges.client.http_client import CallFailedError, HTTPClient
from capwright.judges.client.images import data_url
from capwright.judges.client.messages import BudgetError, ChatAnswer, ChatDownError, ChatError, ChatRequest
from capwright.judges.client.options import ChatOptions
from capwright.judges.client.processes import processes, renewed_after_fork
from capwright.judges.client.usage import Usage, prompt_tokens
from capwright.types import ImageError, Status

#: Waits before another try, in seconds: the first, and the longest.
_FIRST_WAIT, _LONGEST_WAIT = 0.25, 8.0
#: Calls in a row without an answer before a server may be called down, however short the patience; all tries of one
#: call that the server took count once.
_CALLS = 3

#: What is told of a call that ended: its place, and what became of it, to be read. It is over when it was kept; who
#: asks makes no further call before that, so that a kill loses no more than the calls that were under way.
Done = Callable[[int, ChatAnswer], Future[None]]


class Server:
    """A server that speaks /chat/completions at `address`."""

    def __init__(self, address: str, model: str, options: ChatOptions, account: Usage) -> None:
        self.address = address
        self.options = options
        self.account = account
        self._http = HTTPClient(address, model, options)
        self._limiter = RateLimiter(options.requests_per_minute, options.tokens_per_minute, processes())
        self._outage = OutageDetector(address, options.patience, options.call_seconds)
        self.after_fork()
        renewed_after_fork(self)

    async def run(self, requests: Sequence[ChatRequest], done: Done, seconds: float | None) -> None:
        """Ask all; `done(place, answer)` as they come. What is not done after `seconds` is a "timeout".

        Raises:
            ChatError: nothing more can be had; what came before was handed to `done`.
        """
        self._outage.begin()
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
                    done(place, ChatAnswer(Status.TIMEOUT, reason=reason))
        finally:
            for task in workers:
                task.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            self._outage.leave()

    def after_fork(self) -> None:
        """In a child nothing is under way, and connections are the parent's."""
        self._http.forget()
        self._under_way = 0

    async def close(self) -> None:
        """Ends connections."""
        await self._http.close()

    async def _worker(
        self, requests: Sequence[ChatRequest], waiting: Iterator[int], open_calls: set[int], done: Done
    ) -> None:
        for place in waiting:
            open_calls.add(place)
            answer = await self._call(requests[place])
            open_calls.discard(place)
            await asyncio.wrap_future(done(place, answer))

    async def _call(self, request: ChatRequest) -> ChatAnswer:
        """One request, tried until there is an answer or no hope of one."""
        try:
            images = [
                [await asyncio.to_thread(data_url, path, self.options.max_pixels) for path in message.images]
                for message in request.messages
            ]
        except ImageError as error:
            return ChatAnswer(Status.MISSING_IMAGE, reason=str(error))
        tokens = prompt_tokens(request, 0) + request.max_tokens
        rng: random.Random | None = None
        failures = waits = 0
        limited: float | None = None  # since when the server has said that we ask too much
        while True:
            await self._limiter.turn(tokens)
            reserved = self.account.reserve(request)
            started = time.monotonic()
            try:
                answer = await self._try(request, images)
            except CallFailedError as failed:
                self.account.lose(reserved, billed=failed.billed)
                reason = self._http.clean(failed.reason)
                try:
                    self._note(failed, started, reason, request)
                except ChatDownError:
                    if failed.status != Status.TIMEOUT or await self._http.models() is None:
                        raise
                    self._outage.heard()  # it is there, and slow
                if failed.fatal:
                    raise ChatError(f"{self.address}: {reason}") from None
                if failed.again:
                    continue
                failures += failed.counts and not failed.limit
                limited = (limited or started) if failed.limit else None
                too_long = limited is not None and time.monotonic() - limited > self.options.patience
                too_long &= not self._outage.undecided
                if failures > self.options.retries or failed.final or too_long:
                    return ChatAnswer(failed.status, reason=reason)
                waits += 1
                rng = rng or _jitter(request)
                backoff = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(waits - 1, 10)) * (0.5 + rng.random() / 2)
                wait = min(failed.wait, self.options.patience)
                if wait:
                    self._limiter.hold(wait)
                await asyncio.sleep(max(backoff, wait))
            except BaseException:
                self.account.lose(reserved, billed=True)
                raise
            else:
                self._outage.heard()
                self.account.settle(reserved, request, answer.tokens_in, answer.tokens_out, answer.seconds)
                return answer

    async def _try(self, request: ChatRequest, images: list[list[str]]) -> ChatAnswer:
        self._under_way += 1
        try:
            return await self._http.complete(request, images)
        finally:
            self._under_way -= 1

    def _note(self, failed: CallFailedError, started: float, reason: str, request: ChatRequest) -> None:
        """What a failed try says about the server. Raises ChatDownError when our patience is over."""
        what = request.messages if failed.reached else object()
        if not failed.heard:
            self._outage.silent(started, reason, what)
        elif failed.final or failed.again or failed.fatal:  # an answer about this call
            self._outage.heard()
        else:
            self._outage.refused(started, reason, what, self._under_way, failed.limit)


def _jitter(request: ChatRequest) -> random.Random:
    """Of the waits, the same in every run."""
    content = repr((request.messages, request.seed))
    return random.Random(hashlib.blake2b(content.encode("utf-8", "replace")).digest())


class RateLimiter:
    """Spreads calls evenly over time, so that limits a minute hold in every minute.

    Args:
        requests_per_minute, tokens_per_minute: of all processes together; None is no limit.
        processes: how many processes share the limits; each gets its part.
    """

    def __init__(self, requests_per_minute: float | None, tokens_per_minute: float | None, processes: int) -> None:
        self._per_request = 60.0 * processes / requests_per_minute if requests_per_minute else 0.0
        self._per_token = 60.0 * processes / tokens_per_minute if tokens_per_minute else 0.0
        self._next = 0.0
        self._held = 0.0

    async def turn(self, tokens: float) -> None:
        """Wait until a call of about so many tokens may go out."""
        now = time.monotonic()
        at = max(now, self._next)
        self._next = at + max(self._per_request, tokens * self._per_token)
        while (wait := max(at, self._held) - time.monotonic()) > 0:  # a new pause may begin while we wait
            await asyncio.sleep(wait)

    def hold(self, seconds: float) -> None:
        """No calls for so long: the server said so."""
        self._held = max(self._held, time.monotonic() + seconds)


class OutageDetector:
    """Counts the time without an answer, also over several `ask`; time without calls does not count.

    Args:
        address: of the server, for errors.
        seconds: how long we wait for any answer.
        call_seconds: how long a call that is under way may still take.
    """

    def __init__(self, address: str, seconds: float, call_seconds: float) -> None:
        self._address = address
        self._seconds = seconds
        self._call_seconds = call_seconds
        self._silence = _Spell()
        self._refusals = _Spell()
        self._left_at = 0.0
        #: Everything but what is under way was refused; whether that is all will be known soon.
        self.undecided = False

    def begin(self) -> None:
        """A call begins."""
        for spell in (self._silence, self._refusals):
            if spell.since:
                spell.since += time.monotonic() - self._left_at

    def leave(self) -> None:
        """The last call ended."""
        self._left_at = time.monotonic()

    def heard(self) -> None:
        """The server answered a call, or said what is wrong with it."""
        self._silence.end()
        self._refusals.end()
        self.undecided = False

    def silent(self, started: float, reason: str, what: object) -> None:
        """A try that began at `started` came to nothing. Raises ChatDownError when this went on for too long.

        `what` tells tries apart. A server that took a call and did not answer may have choked on this call alone.
        """
        lasted = self._silence.goes_on(started, what)
        if lasted >= self._seconds and len(self._silence.calls) >= _CALLS:
            raise ChatDownError(
                f"{self._address}: no answer for {lasted:.0f} s ({reason}); is it running, and the address right? "
                f"patience is {self._seconds:g} s"
            )

    def refused(self, started: float, reason: str, what: object, others: int, limit: bool) -> None:
        """A try was answered with 429 (`limit`), an error of the server, or nothing that could be read.

        Raises ChatDownError when nothing else has come for too long. A call may be too large for its limit for ever, or
        break the server each time, so a single one does not count as everything. While `others` are under way, one of
        them may have been let through: they get the time that a call may take.
        """
        self._silence.end()
        lasted = self._refusals.goes_on(started, what)
        self.undecided = lasted >= self._seconds and len(self._refusals.calls) >= _CALLS
        if self.undecided and (not others or lasted >= self._seconds + self._call_seconds):
            said, todo = f"nothing but errors for {lasted:.0f} s", "look into its log"
            if limit:
                said = f"answers 429 to everything for {lasted:.0f} s"
                todo = (
                    "look at the quota of the key and who else uses it, or ask more slowly (requests_per_minute, "
                    "tokens_per_minute, concurrency)"
                )
            raise ChatDownError(f"{self._address}: {said} ({reason}); {todo}; patience is {self._seconds:g} s")


class _Spell:
    """Tries without an answer in between: since when, and of which calls."""

    def __init__(self) -> None:
        self.since = 0.0  # 0: none
        self.calls: set[object] = set()

    def goes_on(self, started: float, what: object) -> float:
        """Seconds that it has lasted."""
        self.since = self.since or started
        self.calls.add(what)
        return time.monotonic() - self.since

    def end(self) -> None:
        self.since = 0.0
        self.calls.clear()
