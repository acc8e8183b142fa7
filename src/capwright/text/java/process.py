"""Talk to Java programs without ever hanging: every answer has a deadline, and nothing is left behind.

`converse` keeps one program running for the whole Python process and exchanges single lines with it; `run_once` runs a
program to its end. Both run in a folder of their own, keep what the program says for errors, and kill it when its time
is up and on Ctrl-C; what runs at exit is ended. A child made by fork starts programs of its own.
"""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from capwright.types import ScorerError

#: What every program gets: the same characters and lower-casing whatever the language of the machine.
JAVA_OPTIONS = ("-Dfile.encoding=UTF-8", "-Duser.language=en")

#: Seconds that a program has to start, on top of what its first answer may take.
_START = 120.0
#: Seconds that a program has to end by itself when nobody talks to it any more.
_GRACE = 2.0
#: Seconds between looks at the clock while an answer is awaited.
_LOOK = 0.05
_LONGEST_ANSWER = 1 << 20
_SHOWN = 1500


class JavaError(ScorerError):
    """A Java program broke; the message names it and ends with what the program said."""


class JavaTimeoutError(JavaError):
    """A Java program gave no answer in time and was killed."""


class _Died(JavaError):
    """The program ended in the middle of a conversation."""


class Conversation:
    """One running program that answers every line with a line; made by `converse`. Threads take turns."""

    def __init__(self, who: str, command: Sequence[str], links: Mapping[str, Path]) -> None:
        self._who = who
        self._command = list(command)
        self._links = dict(links)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None
        self._messages: IO[bytes] | None = None
        self._late = False
        self._deadline = math.inf

    def ask(self, line: str, timeout: float) -> str:
        """The answer to one line, without its line end.

        Args:
            line: has no line end in it.
            timeout: seconds for the answer; after a start there are two minutes more.

        Raises:
            JavaTimeoutError: no answer in time. The program is dead; the next call starts it again.
            JavaError: it died on this line, was started again, and died on it again; or the answer is no line.
        """
        if "\n" in line or "\r" in line:
            raise ScorerError(f"{self._who}: a line end in what is sent to Java would mix up captions: {line[:80]!r}")
        with self._lock:
            try:
                try:
                    return self._exchange(line, timeout)
                except _Died:
                    self._stop()
                    return self._exchange(line, timeout)
            except BaseException:
                # Broken or interrupted: a late answer must never pass for the answer to the next line.
                self._stop()
                raise

    def close(self) -> None:
        """End the program; the next question would start it again."""
        with self._lock:
            self._stop()

    def _exchange(self, line: str, timeout: float) -> str:
        if self._process is None:
            self._process = self._start()
            threading.Thread(target=self._watch, args=(self._process,), daemon=True).start()
            timeout += _START
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        self._deadline = time.monotonic() + timeout
        try:
            process.stdin.write(line.encode("utf-8", "replace") + b"\n")
            process.stdin.flush()
            answer = process.stdout.readline(_LONGEST_ANSWER)
        except OSError:
            answer = b""
        finally:
            self._deadline = math.inf
        if self._late:
            raise JavaTimeoutError(self._report(f"gave no answer in {timeout:g} s and was stopped"))
        if not answer:
            raise _Died(self._report(f"ended with exit status {_exit_status(process)}"))
        if not answer.endswith(b"\n"):
            raise JavaError(self._report(f"gave an answer that is no line: {answer[:80]!r}"))
        if self._folder is not None and os.name != "nt":
            # What the program needs is read or open by now, so nothing is left behind when this process is killed.
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        return answer.decode("utf-8", "replace").strip()

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """Kill the program when an answer is late. A thread a program: one a question would cost more than answers."""
        while self._process is process:
            if time.monotonic() > self._deadline:
                self._late = True
                _kill(process)
                return
            time.sleep(_LOOK)

    def _start(self) -> subprocess.Popen[bytes]:
        self._late = False
        self._folder = Path(tempfile.mkdtemp(prefix="capwright-java-"))
        for name, target in self._links.items():
            _link(self._folder / name, target)
        with open(self._folder / "messages", "wb") as messages:
            # Read through a handle of its own, because the folder goes before the program.
            self._messages = open(self._folder / "messages", "rb")  # noqa: SIM115
            return _popen(self._who, self._command, self._folder, subprocess.PIPE, subprocess.PIPE, messages)

    def _stop(self) -> None:
        process, folder, messages = self._process, self._folder, self._messages
        self._process = self._folder = self._messages = None
        if process is not None:
            _end(process)
        if messages is not None:
            messages.close()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

    def _report(self, what: str) -> str:
        said = b""
        if self._messages is not None:
            self._messages.seek(0)
            said = self._messages.read()
        return _report(self._who, self._command, what, said)

    def _forget(self) -> None:
        """In a child made by fork: let go of the parent's program without a word to it."""
        process = self._process
        if process is None:
            return
        process.returncode = 0  # not ours to wait for
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.raw.close()  # type: ignore[attr-defined]


_OPEN: dict[tuple[str, ...], Conversation] = {}
_OPEN_LOCK = threading.Lock()


def converse(who: str, command: Sequence[str], links: Mapping[str, Path] | None = None) -> Conversation:
    """The conversation with a program; the same one for the same command. It starts with the first question.

    Args:
        who: the name that errors begin with.
        command: program and arguments. It runs in an empty folder of its own.
        links: name -> file that is to be there under this name, so that the command needs no absolute paths.
    """
    links = dict(links or {})
    key = (*command, *(f"{name}={target}" for name, target in links.items()))
    with _OPEN_LOCK:
        if key not in _OPEN:
            _OPEN[key] = Conversation(who, command, links)
        return _OPEN[key]


def run_once(who: str, command: Sequence[str], folder: Path, timeout: float) -> bytes:
    """Run a program in a folder and give back what it printed.

    Raises:
        JavaTimeoutError: it did not end in time and was killed.
        JavaError: it ended with an error.
    """
    with open(folder / "printed", "wb") as printed, open(folder / "messages", "wb") as messages:
        process = _popen(who, command, folder, subprocess.DEVNULL, printed, messages)
    broken, what = JavaError, ""
    try:
        if code := process.wait(timeout):
            what = f"ended with exit status {code}"
    except subprocess.TimeoutExpired:
        broken, what = JavaTimeoutError, f"did not end in {timeout:g} s and was stopped"
    finally:
        _end(process)
    if what:
        raise broken(_report(who, command, what, (folder / "messages").read_bytes()))
    return (folder / "printed").read_bytes()


def close_all() -> None:
    """End all programs of this process. They start again when they are asked something."""
    for conversation in list(_OPEN.values()):
        conversation.close()


def _popen(
    who: str, command: Sequence[str], folder: Path, stdin: int, stdout: int | IO[bytes], messages: IO[bytes]
) -> subprocess.Popen[bytes]:
    # In a process group of its own: Ctrl-C reaches Python first, and a launcher script dies with its Java.
    group: dict[str, Any] = {"start_new_session": True}
    if os.name == "nt":
        group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}  # type: ignore[attr-defined, unused-ignore]
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    try:
        return subprocess.Popen(
            list(command), cwd=folder, env=environment, stdin=stdin, stdout=stdout, stderr=messages, **group
        )
    except OSError as error:
        raise JavaError(f"{who}: {command[0]} cannot be started: {error}") from error


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    if os.name == "nt":
        process.kill()
    else:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill what still runs, and leave no zombie and no open pipe."""
    _kill(process)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE)


def _exit_status(process: subprocess.Popen[bytes]) -> object:
    try:
        return process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        return "unknown (it closed its output and still runs)"


def _report(who: str, command: Sequence[str], what: str, said: bytes) -> str:
    end = said[-_SHOWN:].decode("utf-8", "replace").strip()
    return f"{who}: {Path(command[0]).name} {what}; it said: {end or 'nothing'}"


def _link(link: Path, target: Path) -> None:
    try:
        link.symlink_to(target)
    except OSError:  # Windows without the right to make links
        shutil.copyfile(target, link)


def _after_fork() -> None:
    global _OPEN_LOCK
    for conversation in _OPEN.values():
        conversation._forget()
    _OPEN.clear()
    _OPEN_LOCK = threading.Lock()


atexit.register(close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
