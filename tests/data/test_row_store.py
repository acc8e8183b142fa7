from __future__ import annotations

import multiprocessing
import os
import sqlite3
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

from capwright.data.cache_dir import cache_folder
from capwright.data.row_store import Store, digest
from capwright.types import ScorerError


def rows(n, width=3, start=0):
    return {digest(str(k)): np.arange(width) + k / 7 for k in range(start, start + n)}


def same(found, expected):
    assert found.keys() == expected.keys()
    for key, row in found.items():
        assert row.dtype == np.float64
        np.testing.assert_array_equal(row, expected[key])


def test_what_is_put_is_there_to_the_last_digit(tmp_path):
    store = Store("meteor", 3, tmp_path / "new" / "folder")
    kept = rows(1234) | {digest("odd"): np.array([np.nan, -0.0, 1e300])}
    store.put(kept)
    same(Store("meteor", 3, tmp_path / "new" / "folder").get([*kept, digest("none")]), kept)
    store.put({digest("1"): np.zeros(3)})
    same(store.get([digest("1")]), {digest("1"): np.zeros(3)})
    assert store.get([]) == {}


def test_kinds_and_widths_are_apart(tmp_path):
    Store("meteor", 3, tmp_path).put(rows(5))
    assert Store("spice", 3, tmp_path).get(list(rows(5))) == {}
    assert not Store("spice", 3, tmp_path).knows(list(rows(1)))
    assert Store("meteor", 4, tmp_path).get(list(rows(5))) == {}
    with pytest.raises(ScorerError, match="letters only"):
        Store("a; DROP TABLE meteor", 3, tmp_path)


def test_keys_know_where_a_text_ends():
    assert len({digest("a", "b"), digest("ab"), digest("a", "", "b"), digest("b", "a")}) == 4
    assert len(digest("\ud800")) == 16


def test_what_is_known_of_the_first_half_of_a_key(tmp_path):
    store = Store("meteor", 1, tmp_path)
    halves = [digest("a"), digest("b"), b"\xff" * 16]
    assert not store.knows(halves[:1])
    store.put({halves[0] + digest("x"): np.ones(1), halves[2] + b"\xff" * 16: np.ones(1)})
    assert store.knows([halves[0], halves[2]])
    assert not store.knows(halves)
    assert not store.knows([])


def test_the_oldest_go(tmp_path):
    store = Store("meteor", 3, tmp_path, limit=100)
    store.put(rows(80))
    store.put(rows(70, start=80))
    same(store.get(list(rows(150))), rows(100, start=50))


def test_switched_off(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = Store("meteor", 3, None)
    store.put(rows(5))
    assert store.get(list(rows(5))) == {}
    assert not store.knows(list(rows(1)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("broken", [b"this is no database at all" * 100, None])
def test_a_broken_file_is_set_aside_and_a_new_one_begun(tmp_path, broken):
    store = Store("meteor", 3, tmp_path)
    store.put(rows(2000))
    path = tmp_path / "statistics.sqlite"
    if broken is None:
        data = bytearray(path.read_bytes())
        data[4096:] = os.urandom(len(data) - 4096)
        broken = bytes(data)
    path.write_bytes(broken)
    with pytest.warns(RuntimeWarning, match="was broken .*; it is now statistics.broken-"):
        assert store.get(list(rows(2000))) == {}
    store.put(rows(10))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same(store.get(list(rows(2000))), rows(10))
    (aside,) = tmp_path.glob("statistics.broken-*")
    assert aside.read_bytes() == broken


def test_without_a_place_it_works_without(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        store = Store("meteor", 3, folder)
        with pytest.warns(RuntimeWarning, match="statistics are not kept: .*set CAPWRIGHT_CACHE"):
            store.put(rows(5))
        with pytest.warns(RuntimeWarning, match="statistics are not kept"):
            assert store.get(list(rows(5))) == {}
        assert not store.knows(list(rows(1)))


def test_a_file_that_somebody_else_writes(tmp_path, monkeypatch):
    monkeypatch.setattr("capwright.data.row_store._BUSY", 0.05)
    store = Store("meteor", 3, tmp_path)
    store.put(rows(5))
    other = sqlite3.connect(tmp_path / "statistics.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    same(store.get(list(rows(5))), rows(5))  # readers do not wait
    with pytest.warns(RuntimeWarning, match="locked"):
        store.put(rows(5, start=5))
    other.execute("COMMIT")
    other.close()
    store.put(rows(5, start=5))
    same(store.get(list(rows(10))), rows(10))


def _write(folder, number):
    store = Store("meteor", 3, folder)
    for turn in range(5):
        store.put(rows(20, start=1000 * number + 20 * turn))


def test_several_processes_and_threads_at_once(tmp_path):
    workers = [multiprocessing.get_context("fork").Process(target=_write, args=(tmp_path, n)) for n in range(3)]
    workers += [threading.Thread(target=_write, args=(tmp_path, n)) for n in range(3, 5)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    expected = {}
    for n in range(5):
        expected |= rows(100, start=1000 * n)
    same(Store("meteor", 3, tmp_path).get(list(expected)), expected)


def test_where_it_is(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("CAPWRIGHT_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache_folder() == tmp_path / ".cache" / "capwright"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_folder() == tmp_path / "Library" / "Caches" / "capwright"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "/local")
    assert cache_folder() == Path("/local/capwright/Cache")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_folder() == Path("/xdg/capwright")
    monkeypatch.setenv("CAPWRIGHT_CACHE", "~/mine")
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.setenv("CAPWRIGHT_CACHE", "off")
    assert cache_folder() is None
