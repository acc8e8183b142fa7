"""Several processes for one run: start them, watch them, and end all when one ends badly."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from capwright.types import RunError

#: Seconds that processes get to end by themselves.
GRACE = 5.0
#: How people, and schedulers, stop a run.
STOPPING = (signal.SIGINT, signal.SIGTERM)


def run_in_processes(n: int, arguments: Sequence[str], out: Path) -> int:
    """Run `capwright ARGUMENTS` in n processes on this machine, GPU r for process r where there are GPUs.

    Ctrl-C and SIGTERM are handed on to all of them: they finish their step together, save it and end; this waits.

    Returns:
        The exit status of the first process.
    Raises:
        RunError: a process ended badly; the others have been ended too.
    """
    together = {"WORLD_SIZE": str(n), "LOCAL_WORLD_SIZE": str(n), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": _port()}
    threads = os.environ.get("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // n)))
    together |= {"CAPWRIGHT_PARENT": str(os.getpid()), "OMP_NUM_THREADS": threads}
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "capwright", *arguments],
            env={**os.environ, **together, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            start_new_session=True,  # what is sent to this process, by a terminal or not, comes to each of them once
        )
        for rank in range(n)
    ]
    before = {number: signal.signal(number, lambda number, _: _tell(workers, number)) for number in STOPPING}
    try:
        while any(worker.poll() is None for worker in workers):
            ended = [(rank, worker.poll()) for rank, worker in enumerate(workers)]
            bad = [(rank, status) for rank, status in ended if status not in (None, 0, 130)]
            if bad:
                _end(workers)
                # A process that was killed comes first: others may have ended because of it.
                raise RunError(_what_happened(*min(bad, key=lambda one: one[1] >= 0), n, out))
            time.sleep(0.2)
    finally:
        _end(workers)
        for number, handler in before.items():
            signal.signal(number, handler)
    return workers[0].returncode


def _what_happened(rank: int, status: int, n: int, out: Path) -> str:
    how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
    how += " (often: not enough memory)" if status == -signal.SIGKILL else ""
    rest = "the other was ended too" if n == 2 else "the others were ended too"
    begun = any((out / "checkpoints").glob("state-*"))
    go_on = f". Go on with: capwright train --resume {out} --processes {n}" if begun and status < 0 else ""
    return f"process {rank + 1} of {n} {how}; {rest}{go_on}"


def _tell(workers: Sequence[subprocess.Popen[bytes]], number: int = signal.SIGTERM) -> None:
    for worker in workers:
        worker.send_signal(number)  # nothing, where it has ended


def _end(workers: Sequence[subprocess.Popen[bytes]]) -> None:
    _tell(workers)
    deadline = time.monotonic() + GRACE
    for worker in workers:
        try:
            worker.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()


def _port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])
