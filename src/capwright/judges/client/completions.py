"""What a server sent, read: reasoning cut away, JSON by the schema, probabilities of choices."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from capwright.judges.client.messages import ChatAnswer, ChatRequest
from capwright.judges.client.schema import read_json

#: Tokens from the start of an answer of which probabilities are kept, and how many candidates each.
KEPT_TOKENS = 8
CANDIDATES = 20

#: A token with its natural-log probability, and the same of the likeliest candidates in its place.
TokenCandidates = tuple[str, tuple[tuple[str, float], ...]]


@dataclass(frozen=True, slots=True)
class RawCompletion:
    """What a model said, before anybody read it; this is what the cache keeps.

    `finish` is "stop", "length", "refusal", or "" where the server does not say.
    """

    text: str
    finish: str = "stop"
    tokens: tuple[TokenCandidates, ...] = ()
    tokens_in: int = 0
    tokens_out: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(kept: dict[str, Any]) -> RawCompletion:
        tokens = tuple((t, tuple((str(w), float(p)) for w, p in top)) for t, top in kept["tokens"])
        return RawCompletion(
            str(kept["text"]), str(kept["finish"]), tokens, int(kept["tokens_in"]), int(kept["tokens_out"])
        )


def said_by_server(body: Any) -> RawCompletion:
    """What the body of a chat completion says. Raises ValueError when it is none."""
    if not isinstance(body, dict) or not isinstance(body.get("choices"), list):
        raise ValueError("the answer is no chat completion")
    if not body["choices"]:
        raise ValueError("the answer has no choices")
    choice = body["choices"][0]
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        raise ValueError("the answer has no message")
    text = message.get("content")
    if isinstance(text, list):  # some servers answer in parts
        text = "".join(str(part.get("text", "")) for part in text if isinstance(part, dict))
    refusal = message.get("refusal")
    if text is None and refusal is None and choice.get("finish_reason") not in ("content_filter", "length"):
        raise ValueError("the answer has no text")
    finish = str(choice.get("finish_reason") or "")
    if refusal or finish == "content_filter":
        finish, text = "refusal", text or refusal or ""
    usage = body.get("usage") if isinstance(body.get("usage"), dict) else {}
    return RawCompletion(
        str(text or ""), finish, _tokens(choice), _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    )


def read(said: RawCompletion, request: ChatRequest) -> ChatAnswer:
    """An answer with its status; `cached` and `seconds` are for the caller to add."""
    text = without_reasoning(said.text)
    cut = said.finish == "length" and not request.choices  # an answer that is one word may go on as it likes
    status, reason, data = "ok", "", None
    if said.finish == "refusal":
        status, reason = "refusal", text[:200] or "the server filtered the answer"
    elif cut:
        status, reason = "truncated", f"the answer is longer than {request.max_tokens} tokens"
    elif not text:
        status, reason = "unparseable", "the answer is empty"
    elif request.schema is not None:
        data, wrong = read_json(text, request.schema)
        if wrong:
            status, reason = "unparseable", wrong
    probabilities = choice_probabilities(said.tokens, request.choices) if status == "ok" else None
    return ChatAnswer(status, text, data, probabilities, reason, tokens_in=said.tokens_in, tokens_out=said.tokens_out)


def without_reasoning(text: str) -> str:
    """A text without what stands between <think> and </think>, also where the first or the last of them is missing."""
    text = re.sub(r"<think>.*?</think>", "", text, flags=re.DOTALL)
    text = text.rpartition("</think>")[2]
    return text.partition("<think>")[0].strip()


def choice_probabilities(tokens: Sequence[TokenCandidates], choices: Sequence[str]) -> tuple[float, ...] | None:
    """How likely each choice was as the first word of an answer, normalized over the choices.

    The first token counts that is more than spaces, brackets, quotes and stars. None when it is no choice, or goes on
    as a sentence ("A" before " cat"), and when the server gave no candidates. A choice that is not among the
    candidates gets 0: it is less likely than the last of them.
    """
    for place, (word, candidates) in enumerate(tokens):
        if not _bare(word):
            continue
        after = tokens[place + 1][0] if place + 1 < len(tokens) else ""
        if _bare(word) not in choices or re.match(r"\w| ?[^\W\d_]", after.replace("▁", " ").replace("Ġ", " ")):
            return None
        mass = dict.fromkeys(choices, 0.0)
        for candidate, logprob in candidates:
            if _bare(candidate) in mass:
                mass[_bare(candidate)] += math.exp(min(logprob, 0.0))  # no probability is above 1
        total = sum(mass.values())
        return tuple(mass[choice] / total for choice in choices) if total > 0 else None
    return None


def _bare(token: str) -> str:
    return token.strip(" \t\r\n\u2581\u0120\u010a(*[\"'`.):]")


def _tokens(choice: dict[str, Any]) -> tuple[TokenCandidates, ...]:
    """Tokens of the answer with their candidates, as far as the server told and in the form it should have."""
    logprobs = choice.get("logprobs")
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    found: list[TokenCandidates] = []
    for each in (content or [])[:KEPT_TOKENS] if isinstance(content, list) else []:
        try:
            top = each.get("top_logprobs") or []
            candidates = tuple((str(one["token"]), float(one["logprob"])) for one in top[:CANDIDATES])
            found.append((str(each["token"]), candidates))
        except (AttributeError, KeyError, TypeError, ValueError):
            break
    return tuple(found)


def _count(usage: Any, name: str) -> int:
    value = usage.get(name)
    return int(value) if isinstance(value, int | float) and 0 <= value < math.inf else 0
