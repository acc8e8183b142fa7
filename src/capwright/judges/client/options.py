"""Options of a `Chat`: one record, checked by its types, that everything which asks is given."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, PositiveFloat, PositiveInt, ValidationError, field_validator

from capwright.judges.client.cache import LIMIT_MB
from capwright.judges.client.messages import ChatError
from capwright.judges.client.usage import Prices

#: 0 or more; infinity is no limit.
_Amount = Annotated[float, Field(ge=0)]


def chat_address(name: object) -> str:
    """The address of the chat model that a judge's name stands for: a server or a local model; "" for any other name.

    "openai" is where its own client looks: OPENAI_BASE_URL, or OpenAI itself.
    """
    if name == "openai":
        return os.environ.get("OPENAI_BASE_URL", "").strip() or "https://api.openai.com/v1"
    return name if isinstance(name, str) and name.startswith(("http://", "https://", "local:")) else ""


class ChatOptions(BaseModel, frozen=True, strict=True, extra="forbid", arbitrary_types_allowed=True):
    """How a server or a local model is asked.

    Attributes:
        key_variable: environment variable with the key of the server; it may be unset where none is needed. A key is
            given in no other way.
        concurrency: calls under way at once, of this process.
        call_seconds: the most that one try of one call may take, to its last byte. It must come to an end: a server
            that hangs would never be noticed.
        step_seconds: the most that one `ask` may take; what is not answered then is a "timeout". None: no limit.
        retries: further tries after a failure that the server answered with, or a timeout.
        patience: seconds without any answer until the server counts as down. While the server is away calls are tried
            again and again; failures of this kind do not use up `retries`.
        requests_per_minute, tokens_per_minute: limits of the server, for all processes together (WORLD_SIZE).
        prices, budget: what tokens cost (`Prices`, or a mapping of its fields), and the most that may be spent by all
            processes together.
        cache: "default" is the user's cache folder (`capwright cache`), None keeps nothing, otherwise a folder.
        cache_mb, cache_days: size limit of the cache and the age beyond which answers are not used.
        max_pixels: larger images are scaled down before they are sent.
        extra: further fields of the request's body, such as {"top_p": 0.9}; part of the cache key.
        device, dtype: of a local model.
        trust_remote_code: of a local model: execute code that its folder brings, with all rights of this process.
    """

    key_variable: str = "OPENAI_API_KEY"
    concurrency: PositiveInt = 16
    call_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 120.0
    step_seconds: PositiveFloat | None = None
    retries: _Amount = 5
    patience: _Amount = 60.0
    requests_per_minute: PositiveFloat | None = None
    tokens_per_minute: PositiveFloat | None = None
    prices: Prices | None = None
    budget: _Amount | None = None
    cache: str | Path | None = "default"
    cache_mb: PositiveFloat = LIMIT_MB
    cache_days: PositiveFloat | None = None
    max_pixels: PositiveInt | None = None
    extra: Mapping[str, Any] = Field(default_factory=dict)
    device: str | None = None
    dtype: str = "float32"
    trust_remote_code: bool = False

    @field_validator("prices", mode="before")
    @classmethod
    def _read_prices(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        try:
            return Prices(**given)
        except TypeError:
            raise ValueError("are input, output and image_tokens") from None

    @field_validator("extra", mode="before")
    @classmethod
    def _read_extra(cls, given: Any) -> Any:
        try:
            json.dumps(given)
        except (TypeError, ValueError) as error:
            raise ValueError(f"must hold JSON values ({error})") from None
        return {} if given is None else given

    @classmethod
    def checked(cls, address: str, options: Mapping[str, Any]) -> ChatOptions:
        """The options of the judge at an address. Raises ChatError that names an option that cannot be used."""
        try:
            found = cls(**options)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            if first["type"] == "extra_forbidden":
                raise ChatError(f"{address}: {no_option([name], cls.model_fields)}") from None
            wrong = first["msg"].replace("Input should be", "must be").removeprefix("Value error, ")
            raise ChatError(f"{address}: {name} {wrong}, not {first['input']!r}") from None
        if found.budget is not None and found.prices is None:
            raise ChatError(f"{address}: a budget needs prices, for example prices={{input: 0.15, output: 0.6}}")
        return found


def no_option(unknown: Iterable[str], known: Iterable[str]) -> str:
    """That there are no such options, which they may be meant to be, and which there are."""
    known = list(known)
    near = [found for name in unknown for found in difflib.get_close_matches(name, known, n=1)]
    hint = f"did you mean {', '.join(near)}? " if near else ""
    return f"there is no option {', '.join(unknown)} ({hint}options: {', '.join(known)})"
