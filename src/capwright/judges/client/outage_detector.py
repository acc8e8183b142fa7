"""When a server counts as down: it was silent, or refused everything, for longer than our patience."""

from __future__ import annotations

import time

from capwright.judges.client.messages import ChatDownError

#: Calls in a row without an answer before a server may be called down, however short the patience; all tries of one
#: call that the server took count once.
_CALLS = 3


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
