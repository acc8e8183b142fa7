"""Judged captions per second: `Chat` against a server that takes 50 ms for an answer, cold and from the cache. And how
long a leaderboard of 100,000 verdicts takes, five systems that all win half of their battles.

    python benchmarks/judging.py [--json FILE] [--quick]

The server is a process of its own on this machine that answers every call after 50 ms, however many come at once: the
ideal is concurrency / 0.05 s. `of ideal` is what is left of it; the rest is what the client costs (`cpu ms` a call,
measured in this process), because a Python process can make no more than 1000 / `cpu ms` calls a second. Cold calls
write to the cache; `cached/s`, `hit ms` and `alone` ask the same again: how many answers a second come from the cache
when many are asked at once, and how long one takes that is asked for alone. The last two columns ask the same server
without retries, cache or checks: `bare`, a loop over aiohttp that reads nothing, is what Python and this server allow;
`openai`, `AsyncOpenAI.chat.completions.create` behind a semaphore, is what scripts do.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import multiprocessing
import random
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import aiohttp
import openai

from capwright.evaluation import make_leaderboard
from capwright.evaluation.arena.judgements import Judgement
from capwright.judges.client import Chat, ChatRequest, Message
from results_file import write_results

LATENCY = 0.05
ANSWER = json.dumps(
    {
        "id": "1", "object": "chat.completion", "model": "judge",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "B"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 180, "completion_tokens": 1},
    }
).encode()  # fmt: skip
REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(ANSWER), ANSWER)


class Judge(asyncio.Protocol):
    """Answers each request of a connection 50 ms after its last byte."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, end, body = self.buffer.partition(b"\r\n\r\n")
        if end and len(body) >= int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]):
            self.buffer = b""
            asyncio.get_running_loop().call_later(LATENCY, self.transport.write, REPLY)  # type: ignore[attr-defined]


def serve(pipe: Connection) -> None:
    """The process of the server; says its port."""

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Judge, "127.0.0.1", 0, backlog=512)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


def questions(count: int, start: int) -> list[ChatRequest]:
    """Prompts as long as a question about a caption of 60 words."""
    caption = "A child in a striped shirt builds a tower of unit blocks beside a geoboard on the rug. " * 4
    rules = Message("system", "Answer the question from the caption alone. " * 6)
    return [
        ChatRequest(
            (rules, Message("user", f"Caption {number}: {caption}\nQuestion: what is on the rug?\nA) B) C) D)")),
            max_tokens=10,
        )
        for number in range(start, start + count)
    ]


def measure(address: str, concurrency: int, count: int, start: int, folder: Path) -> dict[str, float]:
    """One row: cold, then the same from the cache."""
    with Chat(address, "judge", concurrency=concurrency, cache=folder) as chat:
        chat.ask(questions(concurrency, start + 10**6))  # connections, imports
        asked = questions(count, start)
        cpu, began = time.process_time(), time.perf_counter()
        answers = chat.ask(asked)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        assert all(answer.text == "B" and not answer.cached for answer in answers)
        began = time.perf_counter()
        again = chat.ask(asked)
        hits = time.perf_counter() - began
        assert all(answer.cached for answer in again)
        began = time.perf_counter()
        for request in asked[:200]:
            chat.ask([request])
        alone = (time.perf_counter() - began) / len(asked[:200])
    return {
        "concurrency": concurrency, "calls": count, "cold_per_second": count / seconds,
        "of_ideal": count / seconds / (concurrency / LATENCY), "cpu_ms": 1000 * cpu / count,
        "cached_per_second": count / hits, "hit_ms": 1000 * hits / count, "hit_alone_ms": 1000 * alone,
    }  # fmt: skip


def peers(address: str, concurrency: int, count: int, start: int) -> dict[str, float]:
    """The same requests, of ideal: over bare aiohttp, and through the methods of the openai client."""
    bodies = [
        {"model": "judge", "messages": [{"role": m.role, "content": m.text} for m in r.messages], "max_tokens": 10}
        for r in questions(count + concurrency, start)
    ]

    async def rate(call: Callable[[dict[str, Any]], Awaitable[object]]) -> float:
        async def work(waiting: Iterator[dict[str, Any]]) -> None:
            for body in waiting:
                await call(body)

        async def all_of(some: list[dict[str, Any]]) -> None:
            waiting = iter(some)
            await asyncio.gather(*(work(waiting) for _ in range(concurrency)))

        await all_of(bodies[count:])  # connections
        began = time.perf_counter()
        await all_of(bodies[:count])
        return count / (time.perf_counter() - began) / (concurrency / LATENCY)

    async def both() -> dict[str, float]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def bare(body: dict[str, Any]) -> None:
                async with session.post(f"{address}/chat/completions", json=body) as reply:
                    await reply.read()

            found = {"bare_of_ideal": await rate(bare)}
        async with openai.AsyncOpenAI(
            base_url=address, api_key="none", http_client=openai.DefaultAioHttpClient()
        ) as client:
            found["openai_of_ideal"] = await rate(lambda body: client.chat.completions.create(**body))
        return found

    return asyncio.run(both())


def leaderboard(images: int) -> dict[str, float | str]:
    """Seconds to rate five systems, all pairs of which met on every image in both orders."""
    rng = random.Random(0)
    verdicts = [
        Judgement(str(image), a, b, better=rng.choice(("first", "second")))
        for image in range(images)
        for a, b in itertools.permutations("abcde", 2)
    ]
    began = time.perf_counter()
    make_leaderboard(verdicts)
    return {"part": "leaderboard", "verdicts": len(verdicts), "seconds": time.perf_counter() - began}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--quick", action="store_true", help="a fifth of the calls, one round in place of three")
    args = parser.parse_args()
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(there,), daemon=True)
    server.start()
    address = f"http://127.0.0.1:{here.recv()}/v1"
    rows: list[dict[str, Any]] = []
    print(" at once  calls  calls/s  of ideal  cpu ms  cached/s  hit ms   alone    bare  openai")
    with tempfile.TemporaryDirectory() as folder:
        for concurrency, turn in itertools.product((1, 16, 64), range(1 if args.quick else 3)):
            count = concurrency * (20 if args.quick else 100)
            start = 10**7 * (100 * turn + concurrency)  # no question of another round is in the cache
            row = {"round": turn, **measure(address, concurrency, count, start, Path(folder))}
            row |= peers(address, concurrency, count, start)
            rows.append(row)
            print(
                f"{concurrency:8d} {count:6d} {row['cold_per_second']:8.1f} {row['of_ideal']:9.2f} "
                f"{row['cpu_ms']:7.2f} {row['cached_per_second']:9.0f} {row['hit_ms']:7.3f} {row['hit_alone_ms']:7.3f} "
                f"{row['bare_of_ideal']:7.2f} {row['openai_of_ideal']:7.2f}"
            )
    server.terminate()
    rows.append(leaderboard(100 if args.quick else 5000))
    print(f"a leaderboard of {rows[-1]['verdicts']:,} verdicts: {rows[-1]['seconds']:.1f} s")
    if args.json:
        write_results(args.json, rows, peers=["openai", "aiohttp"], latency=LATENCY)


if __name__ == "__main__":
    main()
