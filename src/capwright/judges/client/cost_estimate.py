"""What asking would cost, before anybody is asked: a chat that counts requests and makes answers up.

Answers that are in the cache are used as they are. Others are made up by their schema, so that what is asked after them
(are these claims true?) is counted too; what comes of them is of no use and is never shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from capwright.judges.client.client import Chat
from capwright.judges.client.messages import ChatAnswer, ChatRequest
from capwright.judges.client.usage import Cost

#: Entries of a list whose length only the answer would tell: claims of a caption, for example.
ENTRIES = 8


class CostEstimate:
    """Counts what chats would ask: "address, model" -> `Cost`."""

    def __init__(self) -> None:
        self.found: dict[str, Cost] = {}

    def add(self, who: str, more: Cost) -> None:
        """Adds up what one judge would be asked."""
        before = self.found.get(who, Cost(0, 0, 0, None if more.cost is None else 0.0))
        cost = None if before.cost is None or more.cost is None else before.cost + more.cost
        self.found[who] = Cost(
            before.calls + more.calls, before.cached + more.cached, before.tokens + more.tokens, cost
        )


class EstimatingChat:
    """`ask` of a Chat, without asking: requests are counted in a `CostEstimate`."""

    def __init__(self, chat: Chat, costs: CostEstimate) -> None:
        self._chat = chat
        self._costs = costs
        self._counted: set[tuple[Any, ...]] = set()

    def ask(self, requests: Sequence[ChatRequest]) -> list[ChatAnswer]:
        """An answer from the cache, or one that is made up, for each request. Raises ChatError as `Chat.ask` does."""
        kept = self._chat.known(requests)
        calls, cached = [], 0
        here = self._counted if self._chat.cache is not None else set()  # without a cache it is asked again
        for request, answer in zip(requests, kept):
            key = (request.protocol, request.messages, request.choices, request.seed, request.temperature,
                   request.max_tokens)  # fmt: skip
            if answer is not None or key in here:
                cached += 1
            else:
                here.add(key)
                calls.append(request)
        who = f"{self._chat.address}, {self._chat.model}"
        self._costs.add(who, self._chat.account.estimate(calls, cached))
        return [answer or made_up(request) for request, answer in zip(requests, kept)]


def counted_options(options: Mapping[str, Any], costs: CostEstimate) -> dict[str, Any] | None:
    """The options of a scorer with which it only counts what it would ask; None when it asks no server and no model."""
    asked = {option: value for option, value in options.items() if _is_model(value)}
    if not asked:
        return None
    named = {option: {"name": value} if isinstance(value, str) else dict(value) for option, value in asked.items()}
    return dict(options) | {option: value | {"dry_run": costs} for option, value in named.items()}


def _is_model(value: Any) -> bool:
    """Whether an option names a judge: a server, or a local model."""
    name = value.get("name") if isinstance(value, Mapping) else value
    return isinstance(name, str) and name.startswith(("http://", "https://", "local:"))


def made_up(request: ChatRequest) -> ChatAnswer:
    """An answer of the right form: by the schema, else the first of the choices, else some words."""
    if request.schema is not None:
        return ChatAnswer("ok", "{}", example(request.schema))
    return ChatAnswer("ok", request.choices[0] if request.choices else "some words")


def example(schema: Mapping[str, Any], number: int = 1) -> Any:
    """A value that fits a JSON schema: lists have `ENTRIES` entries, whose texts and whole numbers are numbered."""
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    if kind == "object":
        return {name: example(below, number) for name, below in schema.get("properties", {}).items()}
    if kind == "array":
        most = min(ENTRIES, int(schema.get("maxItems", ENTRIES)))
        return [example(schema.get("items", {"type": "string"}), i + 1) for i in range(most)]
    if kind in ("integer", "number"):
        return min(number, schema.get("maximum", number))
    if kind == "boolean":
        return True
    return f"The thing number {number} is red."
