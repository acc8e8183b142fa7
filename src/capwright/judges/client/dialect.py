"""What one server does not take, learned from its refusals, and what it is sent instead.

Servers that speak "the OpenAI API" differ in what they take, and say so in words of their own: with status 400, 422 or
another, with 500 where a proxy or a library failed on it, or with 200 and an error in the body. So the text decides:

* a number that is too large ("logprobs of 20, which is greater than max allowed: 5") is lowered;
* a schema: first as `json_schema`, then `json_object` with the schema in words, then in words alone;
* a system message, where there is no such role: its text is put before what the user says;
* any other parameter that is refused by name is left out, or sent by its other name.

What was learned holds for all further calls. A refusal that changes nothing is the answer.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from capwright.judges.client.messages import ChatRequest, Message

log = logging.getLogger("capwright")

#: How a schema is sent, the most binding way first.
_SHAPES = ("json_schema", "json_object", "")
#: Parameters that some servers refuse, and what is sent instead (None: nothing).
_OPTIONAL: dict[str, str | None] = {
    "top_logprobs": None, "logprobs": None, "seed": None, "temperature": None, "max_tokens": "max_completion_tokens",
    "continue_final_message": None, "add_generation_prompt": None,
}  # fmt: skip
_SHAPED = re.compile(r"response_format|json_schema|json_object|guided|grammar|structured.?output", re.IGNORECASE)
_UNKNOWN = re.compile(
    r"not support|unsupported|un(known|recognized|expected)|not (permitted|allowed|available|implemented)|extra ",
    re.IGNORECASE,
)
_NO_SYSTEM = re.compile(
    r"system.{0,20}(role|message|prompt|instruction).{0,30}(not (be )?(support|allow|permit|accept)|unsupported)"
    r"|(not support|unsupported|unexpected|only).{0,40}system|roles? must alternate|conversation roles",
    re.IGNORECASE,
)
#: "at most 5", "max allowed: 5", "maximum value is 5", "less than or equal to 5", "between 0 and 5".
_MOST = re.compile(
    r"(?:at most|max(?:imum)?\b(?: allowed| value| number)?(?: is| of)?|less than or equal to|up to|between 0 and"
    r"|limit(?: is| of)?|<=)[\s:=]*([\d,]{1,9})\b",
    re.IGNORECASE,
)
#: Numbers that may be lowered, and words that complaints about them have.
_LOWERED = {"top_logprobs": ("logprobs",), "max_tokens": ("max_tokens", "max_completion_tokens", "completion tokens")}


#: Role, text and images of a message.
Turn = tuple[str, str, Sequence[str]]


class Dialect:
    """What a server takes.

    Args:
        address: of the server, for warnings.
        fixed: parameters that the user set; they are never left out.
    """

    def __init__(self, address: str, fixed: Collection[str] = ()) -> None:
        self._address, self._fixed = address, fixed
        self._shape = 0
        self._misses: int | None = 0  # answers in a row that did not follow a schema; None: one did
        self._system = True
        self._most: dict[str, int] = {}
        self._refused: set[str] = set()

    def messages(self, request: ChatRequest) -> tuple[Message, ...]:
        """The messages of a request, with its schema in words where this server needs that."""
        return request.messages if _SHAPES[self._shape] == "json_schema" else request.with_schema_in_words

    def turns(self, turns: list[Turn]) -> list[Turn]:
        """Role, text and images of each message, as this server takes them."""
        if self._system or turns[0][0] != "system":
            return turns
        (_, first, _), *rest = turns
        if not rest or rest[0][0] != "user":
            return [("user", first, []), *rest]
        (role, text, images), *rest = rest
        return [(role, f"{first}\n\n{text}", images), *rest]

    def adapted(self, body: dict[str, Any], schema: Mapping[str, Any] | None) -> dict[str, Any]:
        """The body of a call with a schema, as this server takes it."""
        shape = "" if schema is None else _SHAPES[self._shape]
        if schema is not None and (shape == "json_schema" or (shape and schema.get("type") == "object")):
            body["response_format"] = {"type": shape}
            if shape == "json_schema":
                body["response_format"]["json_schema"] = {"name": "answer", "schema": schema}
        for name, most in self._most.items():
            if name in body:
                body[name] = min(body[name], most)
        for name in self._refused & body.keys():
            value, other = body.pop(name), _OPTIONAL[name]
            if other:
                body[other] = value
        return body

    def learn(self, code: int, said: str, body: Mapping[str, Any]) -> bool:
        """Whether a refusal (a status, and what the server said) of a body tells how to ask better.

        A body that was sent before something was learned counts as well: it is asked again as one would now.
        """
        if code in (401, 403, 404, 408, 409, 425, 429) or not 400 <= code <= 500:
            return False
        return (
            self._lower(said, body)
            or self._reshape(said, body)
            or self._move_system(said, body)
            or self._leave_out(said, body, code == 500)
        )

    @property
    def unsure(self) -> bool:
        """Whether it is not known yet if the server looks at schemas."""
        return self._misses is not None and bool(_SHAPES[self._shape])

    def followed(self, well: bool) -> bool:
        """Whether an answer to a schema followed it; True when the schema is said in words from now on.

        Some servers take a schema and do not look at it. After three answers that do not follow it, and none that does,
        this one counts as such.
        """
        self._misses = None if well or self._misses is None else self._misses + 1
        if self._misses is None or self._misses < 3:
            return False
        self._shape = len(_SHAPES) - 1
        self._warn("response_format has no effect", "the schema is said in words")
        return True

    def _lower(self, said: str, body: Mapping[str, Any]) -> bool:
        for name, words in _LOWERED.items():
            sent = body.get(name, body.get(_OPTIONAL[name] or ""))
            found = _MOST.search(said) if any(word in said.lower() for word in words) else None
            if not found or not isinstance(sent, int) or name in self._fixed:
                continue
            most = int(found[1].replace(",", "") or 0)
            if name in self._most and self._most[name] < sent:
                return True  # it was sent before that was learned
            if 0 < most < sent:
                self._most[name] = most
                self._warn(f"{name} is at most {most}", "lowered")
                return True
        return False

    def _reshape(self, said: str, body: Mapping[str, Any]) -> bool:
        shape = (body.get("response_format") or {}).get("type")
        if "response_format" in self._fixed or shape not in _SHAPES or not _SHAPED.search(said):
            return False
        if _SHAPES[self._shape] == shape:
            self._shape += 1
            then = _SHAPES[self._shape]
            self._warn(f"does not take response_format {shape}", f"{then} is sent" if then else "it is said in words")
        return True

    def _move_system(self, said: str, body: Mapping[str, Any]) -> bool:
        if body["messages"][0]["role"] != "system" or not _NO_SYSTEM.search(said):
            return False
        if self._system:
            self._system = False
            self._warn("takes no system message", "it is put before what the user says")
        return True

    def _leave_out(self, said: str, body: Mapping[str, Any], failed: bool) -> bool:
        """`failed`: the server broke on it, in words that need not say so."""
        if not failed and not _UNKNOWN.search(said):
            return False
        for name, other in _OPTIONAL.items():
            if name in body and name not in self._fixed and re.search(rf"(?<![a-z_]){name}(?![a-z_])", said.lower()):
                if name not in self._refused:
                    self._refused.add(name)
                    self._warn(f"does not take {name}", f"{other} is sent" if other else "left out")
                return True
        return False

    def _warn(self, what: str, instead: str) -> None:
        log.warning("%s: %s; %s", self._address, what, instead)
