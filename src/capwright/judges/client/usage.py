"""What asking costs: calls, tokens, money, waiting; and the cap on it."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from capwright.console import count
from capwright.judges.client.messages import BudgetError, ChatError, ChatRequest
from capwright.judges.client.processes import renewed_after_fork

#: Characters of a token, on the careful side; text of languages without spaces counts by bytes.
_CHARACTERS = 3.0


@dataclass(frozen=True, slots=True)
class Prices:
    """What a server takes, for a million tokens, in the currency of your budget.

    `image_tokens`: what an image counts in estimates. Servers differ a lot; look it up for yours.
    """

    input: float = 0.0
    output: float = 0.0
    image_tokens: int = 1000

    def __post_init__(self) -> None:
        for name in ("input", "output", "image_tokens"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise ChatError(f"prices: {name} must be a number, 0 or more, not {value!r}")


@dataclass(frozen=True, slots=True)
class Cost:
    """What requests would cost: calls to be made, answers that are in the cache, tokens and money at most.

    `tokens` are those of the prompts, about, and of answers as long as they may be. `cost` is None without prices.
    """

    calls: int
    cached: int
    tokens: int
    cost: float | None

    def __add__(self, more: Cost) -> Cost:
        cost = None if self.cost is None or more.cost is None else self.cost + more.cost
        return Cost(self.calls + more.calls, self.cached + more.cached, self.tokens + more.tokens, cost)

    def __str__(self) -> str:
        cost = "" if self.cost is None else f", at most {self.cost:.4g} by your prices"
        calls, cached = count(self.calls, "call"), count(self.cached, "answer")
        return f"{calls}, {cached} from the cache, at most {count(self.tokens, 'token')}{cost}"


class Usage:
    """Counts what was asked. May be used by several threads.

    Args:
        prices: what tokens cost; None when it costs nothing.
        budget: the most that this process may spend; needs `prices`.
    """

    def __init__(self, prices: Prices | None = None, budget: float | None = None) -> None:
        self.prices = prices
        self._paid = prices or Prices()
        self.budget = budget
        self.calls = self.failed = self.cached = 0
        self.tokens_in = self.tokens_out = 0
        self.cost = 0.0
        self._seconds: list[float] = []
        self._guessed = 0
        self.after_fork()
        renewed_after_fork(self)

    def after_fork(self) -> None:
        """In a child no call is under way; what those of the parent cost, the parent counts."""
        self._reserved = 0.0
        self._lock = threading.Lock()

    def reserve(self, request: ChatRequest) -> float:
        """Puts aside what a call may cost at most; raises BudgetError when that is more than what is left."""
        with self._lock:
            tokens = prompt_tokens(request, self._paid.image_tokens)
            # Servers that count more tokens than we guess make us careful.
            drift = max(1.0, self.tokens_in / self._guessed) if self._guessed else 1.0
            worst = self._price(tokens * drift, request.max_tokens)
            if self.budget is not None and self.cost + self._reserved + worst > self.budget:
                raise BudgetError(
                    f"the budget of {self.budget:g} would be exceeded: {self.cost:.4g} is spent, "
                    f"{self._reserved:.4g} may come due for calls that are under way, and the next may cost "
                    f"{worst:.4g}; raise the budget, or ask less. Answers so far are in the cache, where there is one"
                )
            self._reserved += worst
            return worst

    def settle(self, reserved: float, request: ChatRequest, tokens_in: int, tokens_out: int, seconds: float) -> None:
        """A call was answered. A server that does not count tokens is taken to have used what was guessed."""
        with self._lock:
            guessed = prompt_tokens(request, self._paid.image_tokens)
            self._reserved -= reserved
            self.calls += 1
            self.tokens_in += tokens_in
            self.tokens_out += tokens_out
            self._guessed += guessed if tokens_in else 0
            self.cost += self._price(tokens_in, tokens_out) if tokens_in else reserved
            self._seconds.append(seconds)

    def lose(self, reserved: float, *, billed: bool) -> None:
        """A try failed. One that the server may have answered is counted in full: it may be billed."""
        with self._lock:
            self._reserved -= reserved
            self.failed += 1
            self.cost += reserved if billed else 0.0

    def hit(self, count: int) -> None:
        """So many answers came from the cache."""
        with self._lock:
            self.cached += count

    def estimate(self, requests: Sequence[ChatRequest], cached: int) -> Cost:
        """What these requests cost when none of them is in the cache; `cached` others are."""
        prompts = sum(prompt_tokens(request, self._paid.image_tokens) for request in requests)
        answers = sum(request.max_tokens for request in requests)
        cost = None if self.prices is None else self._price(prompts, answers)
        return Cost(len(requests), cached, prompts + answers, cost)

    def summary(self) -> dict[str, float | None]:
        """Plain numbers for journals and reports. Seconds are medians and 95th percentiles over answered calls."""
        with self._lock:
            times = sorted(self._seconds)
            return {
                "calls": self.calls,
                "failed_tries": self.failed,
                "cached": self.cached,
                "tokens_in": self.tokens_in,
                "tokens_out": self.tokens_out,
                "cost": None if self.prices is None else self.cost,
                "seconds_median": times[len(times) // 2] if times else None,
                "seconds_p95": times[int(0.95 * (len(times) - 1))] if times else None,
            }

    def _price(self, tokens_in: float, tokens_out: float) -> float:
        return (tokens_in * self._paid.input + tokens_out * self._paid.output) / 1e6


def prompt_tokens(request: ChatRequest, image_tokens: int) -> int:
    """About how many tokens a prompt has; rather more than fewer."""
    text = sum(max(len(m.text) / _CHARACTERS, (len(m.text.encode("utf-8", "replace")) - len(m.text)) / 2)
               for m in request.messages)  # fmt: skip
    return int(text) + 8 * len(request.messages) + image_tokens * sum(len(m.images) for m in request.messages)
