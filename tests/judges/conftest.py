"""Fixtures for tests of `Chat`: a server, and chats that are closed at the end."""

from __future__ import annotations

import pytest

from capwright.judges.client import Chat
from chat_server import ChatServer, echo


@pytest.fixture
def server():
    with ChatServer(echo) as running:
        yield running


@pytest.fixture
def opened():
    """Chats that are closed at the end."""
    chats = []

    def opening(address, model="toy", **options):
        options = {"cache": None, "patience": 5, "call_seconds": 5} | options
        chats.append(Chat(getattr(address, "address", address), model, **options))
        return chats[-1]

    yield opening
    for chat in chats:
        chat.close()
