"""What is asked of a chat model, what comes back, and what it means: records and their reading, no network.

A `ChatRequest` goes out. A `ChatAnswer` comes back as it was said, which is what the cache keeps, and is then read:
reasoning cut away, JSON by the schema, probabilities of choices.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from capwright.data.model_text import without_reasoning
from capwright.judges.client.schema import check_schema, read_json
from capwright.types import ModelError, OutageError, Status

#: Who can say a message.
ROLES = ("system", "user", "assistant")
#: Tokens from the start of an answer of which probabilities are kept, and how many candidates each.
KEPT_TOKENS = 8
CANDIDATES = 20
#: What all choices must have had together, as a first word, for a guess.
LIKELY = 0.1
#: What the cache keeps of an answer.
_KEPT = ("text", "finish", "tokens", "tokens_in", "tokens_out")

#: A token with its natural-log probability, and the same of the likeliest candidates in its place.
TokenCandidates = tuple[str, tuple[tuple[str, float], ...]]


class ChatError(ModelError):
    """A chat model cannot be asked as it is set up; the message names the address and what to change."""


class ChatDownError(ChatError, OutageError):
    """For longer than `patience` nothing was answered, or all with 429; names the address and the last reason."""


class BudgetError(ChatError):
    """The next call could cost more than is left of the budget; it was not made."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation. `images` are paths of images; they are shown before the text."""

    role: str
    text: str
    images: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One call.

    Attributes:
        messages: the conversation. When the last message is of the judge, the model goes on from it, where the
            server can do that.
        max_tokens: of the answer; a longer one is cut off.
        temperature: 0 is greedy.
        seed: for servers that can repeat themselves; part of the cache key, so another seed is another draw.
        schema: JSON schema of the answer; `ChatAnswer.data` holds what was read by it.
        choices: words the answer can start with ("A", "B", "Yes"); `ChatAnswer.probabilities` says how likely each is,
            where the server tells.
        protocol: version of the prompt; part of the cache key.
        guess: where the answer starts with none of the choices, tell how likely each would have been.
    """

    messages: tuple[Message, ...]
    max_tokens: int = 512
    temperature: float = 0.0
    seed: int | None = 0
    schema: Mapping[str, Any] | None = None
    choices: tuple[str, ...] = ()
    protocol: str = ""
    guess: bool = False

    def check(self) -> None:
        """Raises ChatError for a mistake in the prompt itself, which is no failure of a call."""
        if not self.messages:
            raise ChatError("a request without messages")
        for message in self.messages:
            if message.role not in ROLES:
                raise ChatError(f"role {message.role!r} is none of {', '.join(ROLES)}")
        if self.max_tokens < 1 or not 0 <= self.temperature <= 2:
            raise ChatError("max_tokens must be 1 or more, temperature from 0 to 2")
        try:
            check_schema(self.schema or {})
        except ValueError as error:
            raise ChatError(str(error)) from None

    @property
    def with_schema_in_words(self) -> tuple[Message, ...]:
        """The messages, for models that take no schema: it stands at the end of what the user says last.

        It is no message of its own, because many chat templates want user and judge to take turns.
        """
        if self.schema is None:
            return self.messages
        shape = json.dumps(dict(self.schema))
        words = f"Answer with one JSON value that follows this JSON schema, and with nothing else:\n{shape}"
        last = self.messages[-1]
        if last.role != "user":
            return (*self.messages, Message("user", words))
        return (*self.messages[:-1], replace(last, text=f"{last.text}\n\n{words}"))


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """What came back from one call.

    Attributes:
        status: OK, TRUNCATED (cut off at max_tokens; `text` is what there is), UNPARSEABLE (no JSON by the schema),
            REFUSAL, TIMEOUT, JUDGE_ERROR (the server said no, or nothing of use), MISSING_IMAGE. Everything but OK is
            unknown to the caller, except that a cut-off text may be of use.
        text: the answer; once it is read, without reasoning between <think> and </think>.
        data: what JSON the text holds, when a schema was given and the status is OK.
        probabilities: of `ChatRequest.choices`, in order; they sum to 1. None where the server does not tell.
        reason: why the status is not OK, for people.
        cached: no judge was asked; the answer is from the cache.
        tokens_in, tokens_out: as the server counts them; 0 where it does not.
        seconds: from sending to the whole answer, of the try that worked; 0 when cached.
        finish: "stop", "length", "refusal", or "" where the server does not say.
        guessed: `probabilities` are those that the choices had beside the first word, which is none of them.
        tokens: the first tokens with their candidates, until it is read.
    """

    status: str = Status.OK
    text: str = ""
    data: Any = None
    probabilities: tuple[float, ...] | None = None
    reason: str = ""
    cached: bool = False
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
    finish: str = "stop"
    guessed: bool = False
    tokens: tuple[TokenCandidates, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """What the cache keeps, of an answer that was not read yet."""
        return {name: getattr(self, name) for name in _KEPT}

    @staticmethod
    def from_json(kept: Mapping[str, Any]) -> ChatAnswer:
        """An answer from the cache, to be read. Raises KeyError, TypeError or ValueError for what is none."""
        tokens = tuple((t, tuple((str(w), float(p)) for w, p in top)) for t, top in kept["tokens"])
        return ChatAnswer(
            text=str(kept["text"]), cached=True, finish=str(kept["finish"]), tokens=tokens,
            tokens_in=int(kept["tokens_in"]), tokens_out=int(kept["tokens_out"]),
        )  # fmt: skip

    @staticmethod
    def from_server(body: Any) -> ChatAnswer:
        """What the body of a chat completion says, to be read. Raises ValueError when it is none."""
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
        finish = str(choice.get("finish_reason") or "")
        thought = message.get("reasoning_content") or message.get("reasoning")
        if text is None and refusal is None and not thought and finish not in ("content_filter", "length"):
            raise ValueError("the answer has no text")
        if refusal or finish == "content_filter":
            finish, text = "refusal", text or refusal or ""
        usage = body.get("usage")
        return ChatAnswer(
            text=str(text or (thought and "<think>") or ""),
            finish=finish,
            tokens=_tokens(choice),
            tokens_in=_count(usage, "prompt_tokens"),
            tokens_out=_count(usage, "completion_tokens"),
        )

    def _cut_off(self, request: ChatRequest, text: str) -> str:
        """Which limit ended it."""
        if 0 < self.tokens_out < request.max_tokens:
            cut = f"the context of the model ended the answer after {self.tokens_out} of {request.max_tokens} tokens"
            return f"{cut}; start the server with a longer one"
        if not text:
            return f"no answer within {request.max_tokens} tokens: a model that thinks first needs more (max_tokens)"
        return f"the answer is longer than {request.max_tokens} tokens (max_tokens)"

    def read(self, request: ChatRequest) -> ChatAnswer:
        """What the answer to a request means: its status, text, data and probabilities."""
        if self.status != Status.OK:
            return self
        text = without_reasoning(self.text)
        status, reason, data = Status.OK, "", None
        if self.finish == "refusal":
            status, reason = Status.REFUSAL, text[:200] or "the server filtered the answer"
        elif self.finish == "length" and not (request.choices and text):  # one word may go on as it likes
            status, reason = Status.TRUNCATED, self._cut_off(request, text)
        elif not text:
            reason = "the answer is empty" + (": there are only thoughts in it" if self.text.strip() else "")
            status = Status.UNPARSEABLE
        elif request.schema is not None and not request.choices:  # a schema of choices only helps the model
            data, reason = read_json(text, request.schema)
            status = Status.UNPARSEABLE if reason else Status.OK
        chances = choice_probabilities(self.tokens, request.choices) if status == Status.OK else None
        guessed = request.guess and chances is None and status == Status.OK
        if guessed:
            chances = first_word_chances(self.tokens, request.choices)
        return replace(
            self, status=status, text=text, data=data, probabilities=chances, reason=reason, guessed=guessed, tokens=()
        )


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
        return _normalized(_masses(candidates, choices))
    return None


def first_word_chances(tokens: Sequence[TokenCandidates], choices: Sequence[str]) -> tuple[float, ...] | None:
    """How likely each choice would have been in place of the first word, normalized over the choices.

    None where all choices together had less than `LIKELY`: then the model was about to say something else.
    """
    for word, candidates in tokens:
        if _bare(word):
            masses = _masses(candidates, choices)
            return _normalized(masses) if sum(masses) >= LIKELY else None
    return None


def _masses(candidates: Sequence[tuple[str, float]], choices: Sequence[str]) -> list[float]:
    mass = dict.fromkeys(choices, 0.0)
    for candidate, logprob in candidates:
        if _bare(candidate) in mass:
            mass[_bare(candidate)] += math.exp(min(logprob, 0.0))  # no probability is above 1
    return list(mass.values())


def _normalized(masses: Sequence[float]) -> tuple[float, ...] | None:
    total = sum(masses)
    return tuple(mass / total for mass in masses) if total > 0 else None


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
    value = usage.get(name) if isinstance(usage, dict) else None
    return int(value) if isinstance(value, int | float) and 0 <= value < math.inf else 0
