"""When the next call may go out: limits a minute, and pauses that the server asked for."""

from __future__ import annotations

import asyncio
import time


class RateLimiter:
    """Spreads calls evenly over time, so that limits a minute hold in every minute.

    Args:
        requests_per_minute, tokens_per_minute: of all processes together; None is no limit.
        processes: how many processes share the limits; each gets its part.
    """

    def __init__(
        self, requests_per_minute: float | None = None, tokens_per_minute: float | None = None, processes: int = 1
    ) -> None:
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
