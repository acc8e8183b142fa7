"""Bytes to a server and back: the connections of the `openai` client, without what it does around them.

Its `chat.completions.create` copies, checks and wraps every request and answer, which takes longer than the rest of a
call; what we send is plain JSON and what comes back is checked by us anyway. So we post through its HTTP client: with
aiohttp where that is installed (`openai[aiohttp]`), else with httpx.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Errors that mean that a connection never was; by name for the libraries below, which change.
_NO_CONNECTION = (ConnectionRefusedError, socket.gaierror)
_NO_CONNECTION_NAMES = ("ConnectError", "ClientConnectorError", "ClientConnectorDNSError")
#: Their base classes of everything that can happen on the way.
_ON_THE_WAY = ("HTTPError", "StreamError", "InvalidURL", "ClientError")


#: Bytes of an answer; nothing that we ask for comes near, and a runaway server must not fill our memory.
LARGEST = 8_000_000


class TooLargeError(Exception):
    """The answer has more than `LARGEST` bytes; the rest was not read."""


class BrokenError(Exception):
    """There is no answer. `reached` says whether there was a connection at all."""

    def __init__(self, reason: str, reached: bool) -> None:
        super().__init__(reason)
        self.reached = reached


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer of any status; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    text: str


class HTTPClient:
    """Connections to one address; belongs to the event loop that makes it."""

    def __init__(self, address: str, key: str, seconds: float) -> None:
        import openai

        settings: dict[str, Any] = {"timeout": seconds, "follow_redirects": True}
        try:
            self._client: Any = openai.DefaultAioHttpClient(**settings)
        except (AttributeError, ImportError, RuntimeError):  # without aiohttp
            self._client = openai.DefaultAsyncHttpxClient(**settings)
        self._url = f"{address}/chat/completions"
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"

    async def post(self, body: Mapping[str, Any]) -> Reply:
        """Sends a JSON body. Raises BrokenError when no whole answer comes back, TooLargeError when it has no end."""
        data = bytearray()
        try:
            content = json.dumps(body).encode()
            async with self._client.stream("POST", self._url, content=content, headers=self._headers) as got:
                async for piece in got.aiter_bytes():
                    data += piece
                    if len(data) > LARGEST:
                        raise TooLargeError
            text = data.decode(got.encoding or "utf-8", "replace")
            return Reply(int(got.status_code), {name.lower(): value for name, value in got.headers.items()}, text)
        except Exception as error:
            if not isinstance(error, OSError) and not any(k.__name__ in _ON_THE_WAY for k in type(error).__mro__):
                raise
            chain = _chain(error)
            never = any(isinstance(one, _NO_CONNECTION) or type(one).__name__ in _NO_CONNECTION_NAMES for one in chain)
            first = (str(chain[-1]).strip().splitlines() or [type(chain[-1]).__name__])[0]
            what = "no connection" if never else "the connection broke"
            raise BrokenError(f"{what}: {first}", reached=not never) from None

    async def close(self) -> None:
        """Ends the connections."""
        await self._client.aclose()


def _chain(error: BaseException) -> list[BaseException]:
    """An error, what caused it, and so on to the first cause."""
    chain = [error]
    while (below := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(below)
    return chain
