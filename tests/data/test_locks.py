"""One process at a time for a place that is written resumably."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from capwright.data import locks
from capwright.data.append_log import AppendLog
from capwright.data.locks import lock_file, only_one
from capwright.types import DataError

HOLD = (
    "import sys, time; from capwright.data.locks import only_one\n"
    "with only_one(sys.argv[1]): print('held', flush=True); time.sleep(60)"
)


@pytest.fixture
def other(tmp_path):
    """Another process that holds `tmp_path / "said.jsonl"`."""
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "said.jsonl"], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        yield process
        process.kill()


def test_the_second_is_refused_and_told_who_the_first_is(other, tmp_path):
    place = tmp_path / "said.jsonl"
    with (
        pytest.raises(DataError, match=rf"said\.jsonl: another job .* process {other.pid} \(since .*: -c"),
        only_one(place),
    ):
        pass
    with pytest.raises(DataError, match="another job"):
        AppendLog(place, lock=True)
    assert not place.exists(), "nothing is made before it is free"
    AppendLog(place).close()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_what_a_dead_process_held_is_free(other, tmp_path, how):
    other.send_signal(how)
    other.wait()
    assert lock_file(tmp_path / "said.jsonl").exists()
    with only_one(tmp_path / "said.jsonl"):
        assert json.loads(lock_file(tmp_path / "said.jsonl").read_text())["pid"] == os.getpid()
    assert not lock_file(tmp_path / "said.jsonl").exists()


def test_a_host_is_believed_and_the_message_says_what_to_do(tmp_path):
    place = tmp_path / "run"
    place.mkdir()
    (place / ".lock").write_text(json.dumps({"pid": 7, "host": "elsewhere", "since": "yesterday", "command": "x"}))
    with (
        pytest.raises(
            DataError, match=r"process 7 on elsewhere \(since yesterday: x\); wait for it; if it has ended, re"
        ),
        only_one(place),
    ):
        pass
    (place / ".lock").unlink()
    with only_one(place):
        pass


def test_without_locks_of_the_system_the_process_is_looked_up(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "fcntl", None)
    place, host = tmp_path / "x", socket.gethostname()
    lock_file(place).write_text(json.dumps({"pid": os.getppid(), "host": host}))
    with pytest.raises(DataError, match=f"process {os.getppid()}"), only_one(place):
        pass
    done = subprocess.Popen(["true"])
    done.wait()
    for left in (json.dumps({"pid": done.pid, "host": host}), "", "no json", "[1]"):
        lock_file(place).write_text(left)
        with only_one(place):
            pass


def test_what_is_held_is_not_taken_twice_but_inside_itself(tmp_path):
    def take(**options):
        with only_one(tmp_path / "x", **options):
            return True

    def refused(found):
        try:
            take(within=True)
        except DataError:
            found.append(True)

    with only_one(tmp_path / "x"):
        with pytest.raises(DataError, match="writing it, this process "):
            take()
        assert take(within=True)
        assert lock_file(tmp_path / "x").exists()
        thread = threading.Thread(target=refused, args=[found := []])
        thread.start()
        thread.join()
        assert found, "another thread is another job"
    assert take()


def test_of_many_at_once_one_has_it(tmp_path):
    """Each adds 1 to a number under the lock, trying until it is free: no addition is lost."""
    place = tmp_path / "n"
    place.write_text("0")
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom capwright.data.locks import only_one\n"
        "from capwright.types import DataError\nplace = Path(sys.argv[1])\ndone = 0\n"
        "while done < 25:\n"
        "    try:\n"
        "        with only_one(place):\n"
        "            n = int(place.read_text()); time.sleep(0.001); place.write_text(str(n + 1)); done += 1\n"
        "    except DataError:\n        time.sleep(0.001)\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, place]) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert place.read_text() == "75"
