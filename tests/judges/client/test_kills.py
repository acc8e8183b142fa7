"""A program that is killed while it asks: what was answered is asked no second time."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from chat_server import ChatServer, echo, text_of

ASKING = (
    "import sys\nfrom capwright.judges.client import Chat, ChatRequest, Message\n"
    "requests = [ChatRequest((Message('user', f'question {n}'),)) for n in range(80)]\n"
    "with Chat(sys.argv[1], 'toy', cache=sys.argv[2], concurrency=4) as chat:\n"
    "    print(sum(answer.status == 'ok' for answer in chat.ask(requests)))\n"
)


@pytest.mark.parametrize("moments", [(7, 21, 40), (1, 33, 60)])
def test_three_kills_ask_again_only_what_was_under_way(moments, tmp_path):
    with ChatServer(echo, latency=0.01) as server:
        command = [sys.executable, "-c", ASKING, server.address, str(tmp_path)]
        for moment in moments:
            with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
                while len(server.bodies) < moment:
                    time.sleep(0.002)
                process.send_signal(signal.SIGKILL)
        before = len(server.bodies)
        assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() == "80"
        asked = Counter(text_of(body["messages"][0]) for body in server.bodies)
        assert len(asked) == 80
        assert before >= moments[-1]
        assert asked.total() - 80 <= 3 * 4, "each kill loses at most the calls that were under way"
