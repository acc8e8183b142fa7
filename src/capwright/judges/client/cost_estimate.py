"""What asking would cost, before anybody is asked: a chat that counts requests and makes answers up.

Answers that are in the cache are used as they are. Others are made up by their schema, so that what is asked after them
(are these claims true?) is counted too; what comes of them is of no use and is never shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from capwright.judges.client.chat import Chat
from capwright.judges.client.messages import ChatAnswer, ChatRequest
from capwright.judges.client.options import chat_address
from capwright.judges.client.usage import Cost

#: Entries of a list whose length only the answer would tell: claims of a caption, for example.
ENTRIES = 8


class CostEstimate:
    """Counts what chats would ask: "address, model" -> `Cost`."""

    def __init__(self) -> None:
        self.found: dict[str, Cost] = {}

    def add(self, who: str, more: Cost) -> None:
        """Adds up what one judge would be asked."""
        self.found[who] = self.found[who] + more if who in self.found else more


class EstimatingChat(Chat):
    """A `Chat` that asks nothing: requests are counted in a `CostEstimate`, and answers are made up."""

    def __init__(self, costs: CostEstimate, address: str, model: str = "", **options: Any) -> None:
        super().__init__(address, model, **options)
        self._costs = costs
        self._counted: set[bytes] = set()

    def _kept(self, first: Mapping[bytes, ChatRequest]) -> dict[bytes, ChatAnswer]:
        """Answers from the cache, and of what it would hold by then."""
        answers = {key: made_up(first[key]) for key in self._counted & first.keys()} | super()._kept(first)
        calls = [request for key, request in first.items() if key not in answers]
        self._costs.add(f"{self.address}, {self.model}", self.account.estimate(calls, len(answers)))
        return answers

    def _fetch(self, first: Mapping[bytes, ChatRequest]) -> dict[bytes, ChatAnswer]:
        if self.cache is not None:  # without a cache they are asked again
            self._counted |= first.keys()
        return {key: made_up(request) for key, request in first.items()}


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
    return bool(chat_address(name))


def made_up(request: ChatRequest) -> ChatAnswer:
    """An answer of the right form: by the schema, else the first of the choices, else some words."""
    if request.schema is not None:
        return ChatAnswer(text="{}", data=example(request.schema))
    return ChatAnswer(text=request.choices[0] if request.choices else "some words")


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
