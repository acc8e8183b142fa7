"""The file of kept answers: several processes, limits, age, and files that are broken."""

from __future__ import annotations

import multiprocessing
import threading
import time

import pytest

from capwright.judges.client.cache import AnswerCache


def key(number):
    return number.to_bytes(32, "big")


def answers(count, start=0, size=10):
    return {key(n): {"text": f"{n} " + "x" * size} for n in range(start, start + count)}


def test_what_is_put_is_there(tmp_path):
    kept = answers(1234)
    AnswerCache(tmp_path / "new" / "folder").put(kept)
    cache = AnswerCache(tmp_path / "new" / "folder")
    assert cache.get([*kept, key(9999)]) == kept
    cache.put({key(1): {"text": "ü\ud800"}})
    assert cache.get([key(1)]) == {key(1): {"text": "ü\ud800"}}
    assert cache.get([]) == {}
    state = cache.state()
    assert (state.answers, state.path.parent) == (1234, tmp_path / "new" / "folder")
    assert state.size > 10_000
    assert time.time() - state.oldest < 60


def test_a_file_that_is_not_there_is_not_made_by_looking(tmp_path):
    cache = AnswerCache(tmp_path)
    assert cache.state().answers == 0
    assert cache.clear() == 0
    assert list(tmp_path.iterdir()) == []


def test_the_oldest_go_when_there_is_too_much(tmp_path):
    cache = AnswerCache(tmp_path, limit_mb=1)
    for start in range(0, 1000, 100):
        cache.put(answers(100, start, size=5000))
    assert cache.get([key(999)])
    assert not cache.get([key(0)])
    assert 100 <= cache.state().answers < 210
    assert (tmp_path / "answers.sqlite").stat().st_size < 2.5e6


def test_age(tmp_path, monkeypatch):
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 10 * 86400)
    AnswerCache(tmp_path).put(answers(3))
    monkeypatch.setattr(time, "time", lambda: now)
    cache = AnswerCache(tmp_path, days=9)
    cache.put(answers(2, start=10))
    assert cache.get(list(answers(20))).keys() == {key(10), key(11)}
    assert len(AnswerCache(tmp_path, days=11).get(list(answers(20)))) == 5
    assert cache.clear(older_days=9) == 3
    assert cache.clear() == 2
    assert cache.state().answers == 0


def _write(folder, start):
    cache = AnswerCache(folder)
    for n in range(start, start + 50, 5):
        cache.put(answers(5, n))


def test_several_processes_and_threads_at_once(tmp_path):
    AnswerCache(tmp_path).put(answers(1, 10**6))
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_write, args=(tmp_path, 1000 * n)) for n in range(3)]
    workers += [threading.Thread(target=_write, args=(tmp_path, 1000 * n)) for n in range(3, 5)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    expected = {k: v for n in range(5) for k, v in answers(50, 1000 * n).items()}
    assert AnswerCache(tmp_path).get(list(expected)) == expected


def test_a_child_opens_the_file_itself(tmp_path):
    cache = AnswerCache(tmp_path)
    cache.put(answers(1))
    child = multiprocessing.get_context("fork").Process(target=cache.put, args=(answers(5, 100),))
    child.start()
    child.join(30)
    assert child.exitcode == 0
    cache.put(answers(1, 50))
    assert cache.state().answers == 7


def test_a_broken_file_is_set_aside(tmp_path):
    (tmp_path / "answers.sqlite").write_bytes(b"no database, and long enough to be looked at" * 100)
    cache = AnswerCache(tmp_path)
    with pytest.warns(RuntimeWarning, match="broken"):
        cache.put(answers(2))
    assert cache.get([key(1)])
    assert len(list(tmp_path.glob("answers.broken-*"))) == 1


def test_a_folder_that_can_not_be_used_is_warned_about(tmp_path):
    (tmp_path / "file").write_text("in the way")
    cache = AnswerCache(tmp_path / "file")
    with pytest.warns(RuntimeWarning, match="CAPWRIGHT_CACHE"):
        cache.put(answers(1))
    with pytest.warns(RuntimeWarning, match="not kept"):
        assert cache.get([key(0)]) == {}


def test_rows_of_something_else_are_passed_over(tmp_path):
    cache = AnswerCache(tmp_path)
    cache.put(answers(2))
    with cache._opened() as db:
        db.execute("UPDATE answers SET answer = '{half' WHERE key = ?", (key(0),))
    assert cache.get([key(0), key(1)]).keys() == {key(1)}
