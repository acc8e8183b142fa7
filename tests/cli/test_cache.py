from __future__ import annotations

import subprocess
import sys
import time

from typer.testing import CliRunner

from capwright.cli import app
from capwright.judges.client.cache import AnswerCache


def run(*words):
    return CliRunner().invoke(app, ["cache", *words])


def test_what_is_kept_is_told_and_cleared(tmp_path, monkeypatch):
    monkeypatch.setenv("CAPWRIGHT_CACHE", str(tmp_path))
    assert "0 answers" in run().stdout
    now = time.time()
    cache = AnswerCache(tmp_path)
    monkeypatch.setattr(time, "time", lambda: now - 40 * 86400)
    cache.put({bytes([n]) * 32: {"text": "old"} for n in range(3)})
    monkeypatch.setattr(time, "time", lambda: now)
    cache.put({bytes([n]) * 32: {"text": "new"} for n in range(5, 7)})
    shown = run()
    assert shown.exit_code == 0
    assert str(tmp_path / "answers.sqlite") in shown.stdout
    assert "5 answers" in shown.stdout
    assert "40 days" in shown.stdout
    assert "3 answers are gone" in run("clear", "--older", "30").stderr
    assert "2 answers" in run().stdout
    assert cache.clear() == 2
    cache.put({b"1" * 32: {"text": "one"}})
    assert "1 answer, " in run().stdout
    assert "1 answer is gone" in run("clear").stderr
    assert run("clear").exit_code == 0
    assert cache.state().answers == 0


def test_a_cache_that_can_not_be_cleared_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("CAPWRIGHT_CACHE", str(tmp_path))
    (tmp_path / "answers.sqlite").write_bytes(b"no database" * 1000)
    told = run("clear")
    assert told.exit_code == 1
    assert "answers.sqlite: cannot be cleared" in told.stderr
    assert "are gone" not in told.stderr


def test_a_broken_cache_is_told_in_plain_words(tmp_path, monkeypatch):
    (tmp_path / "answers.sqlite").write_bytes(b"no database" * 1000)
    monkeypatch.setenv("CAPWRIGHT_CACHE", str(tmp_path))
    told = subprocess.run([sys.executable, "-m", "capwright", "cache"], capture_output=True, text=True, check=True)
    (line,) = told.stderr.splitlines()
    assert line.startswith("warning: the file of kept answers was broken")
    assert "RuntimeWarning" not in line
    assert "0 answers" in told.stdout


def test_a_cache_that_is_off(monkeypatch):
    monkeypatch.setenv("CAPWRIGHT_CACHE", "off")
    assert "off" in run().stdout
    assert "0 answers" in run("clear").stderr
