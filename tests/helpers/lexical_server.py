"""The lexical reader as a chat model: it reads our own prompts, by their layout, and replies as a model should."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from capwright.judges.client.messages import ChatAnswer, ChatRequest
from capwright.judges.multiple_choice import letters_of
from capwright.judges.prompt_files import load_prompts
from capwright.scenes.lexical_judge import LexicalJudge
from capwright.types import Question

LEXICAL = LexicalJudge()


def lexical_reply(messages: Sequence[Mapping[str, Any]]) -> str:
    """What the lexical reader says to a conversation, which is one of our prompts. Images it cannot see."""
    system = next(_words(message) for message in messages if message["role"] == "system")
    user = next(_words(message) for message in messages if message["role"] == "user")
    name = next((prompt.name for prompt in load_prompts().values() if prompt.system == system), "")
    if name not in _REPLIES:
        return "I can only look words up."
    slots = re.findall(r"^<([a-z_]+)>\n(.*?)\n</\1>$", user, re.DOTALL | re.MULTILINE)
    return _REPLIES[name]({slot: "" if told == "(none)" else html.unescape(told) for slot, told in slots})


class LexicalChat:
    """A chat without a server, for tests. Counts calls; `spoil(request, text)` may change what was said."""

    def __init__(self, spoil: Callable[[ChatRequest, str], ChatAnswer | None] | None = None) -> None:
        self.requests: list[ChatRequest] = []
        self._spoil = spoil

    def ask(self, requests: Sequence[ChatRequest]) -> list[ChatAnswer]:
        self.requests += requests
        return [self._reply(request) for request in requests]

    def _reply(self, request: ChatRequest) -> ChatAnswer:
        text = lexical_reply([{"role": message.role, "content": message.text} for message in request.messages])
        spoiled = self._spoil(request, text) if self._spoil else None
        if spoiled is not None:
            return spoiled
        if request.schema is None:
            return ChatAnswer("ok", text)
        try:
            return ChatAnswer("ok", text, json.loads(text))
        except ValueError:
            return ChatAnswer("unparseable", text, reason="no JSON in it")


def _words(message: Mapping[str, Any]) -> str:
    content = message["content"]
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part["type"] == "text")


def _lines(text: str) -> list[str]:
    return [line.partition(". ")[2] for line in text.splitlines()]


def _answer(slots: Mapping[str, str]) -> str:
    options = tuple(line.partition(") ")[2] for line in slots["options"].splitlines())[:-1]
    (answer,) = LEXICAL.answer([(slots["caption"], Question(slots["question"], options))])
    return letters_of(len(options))[len(options) if answer.option is None else answer.option]


def _split(slots: Mapping[str, str]) -> str:
    (split,) = LEXICAL.split([slots["caption"]])
    pairs = zip(split.claims, split.descriptive)
    return json.dumps({"claims": [{"claim": claim, "descriptive": told} for claim, told in pairs]})


def _verify(slots: Mapping[str, str]) -> str:
    (verdicts,) = LEXICAL.verify([(_lines(slots["claims"]), slots["evidence"])])
    records = [
        {"number": i, "verdict": verdict.verdict, "pointable": bool(verdict.pointable)}
        for i, verdict in enumerate(verdicts, 1)
    ]
    return json.dumps({"verdicts": records})


def _match(slots: Mapping[str, str]) -> str:
    (places,) = LEXICAL.match([(_lines(slots["claims"]), _lines(slots["facts"]))])
    records = [{"claim": i, "fact": 0 if place is None else place + 1} for i, place in enumerate(places, 1)]
    return json.dumps({"matches": records})


def _compare(slots: Mapping[str, str]) -> str:
    (found,) = LEXICAL.compare([(None, slots["first"], slots["second"], slots["reference"])])
    return json.dumps({"reason": found.reason, "better": found.better})


_REPLIES: dict[str, Callable[[Mapping[str, str]], str]] = {
    "answer_text": _answer,
    "answer_blind": lambda slots: _answer({"caption": "", **slots}),
    "split": _split,
    "verify_text": _verify,
    "match": _match,
    "compare": _compare,
}
