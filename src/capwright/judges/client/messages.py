"""What is asked of a chat model and what comes back: plain records, no network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capwright.types import ModelError, OutageError

#: Who can say a message.
ROLES = ("system", "user", "assistant")


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
    """

    messages: tuple[Message, ...]
    max_tokens: int = 512
    temperature: float = 0.0
    seed: int | None = 0
    schema: Mapping[str, Any] | None = None
    choices: tuple[str, ...] = ()
    protocol: str = ""


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """What came back from one call.

    Attributes:
        status: "ok", "truncated" (cut off at max_tokens; `text` is what there is), "unparseable" (no JSON by the
            schema), "refusal", "timeout", "judge_error" (the server said no, or nothing of use), "missing_image".
            Everything but "ok" is unknown to the caller, except that a cut-off text may be of use.
        text: the answer without reasoning between <think> and </think>.
        data: what JSON the text holds, when a schema was given and the status is "ok".
        probabilities: of `ChatRequest.choices`, in order; they sum to 1. None where the server does not tell.
        reason: why the status is not "ok", for people.
        cached: no judge was asked; the answer is from the cache.
        tokens_in, tokens_out: as the server counts them; 0 where it does not.
        seconds: from sending to the whole answer, of the try that worked; 0 when cached.
    """

    status: str
    text: str = ""
    data: Any = None
    probabilities: tuple[float, ...] | None = None
    reason: str = ""
    cached: bool = False
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
