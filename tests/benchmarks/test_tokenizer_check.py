"""The benchmark of the tokenizer counts what differs from Java's recorded answers."""

from __future__ import annotations

import tokenizer_check as bench


def test_hardly_a_text_differs():
    rows = bench.close(200)
    assert [row["texts"] for row in rows] == [200] * 5
    assert all(row["differ"] <= 1 for row in rows)


def test_what_is_cut_twice_may_differ():
    (row,) = bench.again(4026)
    assert 0 < row["differ"] < 20


def test_changes_are_counted_as_the_longer_side():
    assert bench.changed(["a", "b", "c"], ["a", "b", "c"]) == 0
    assert bench.changed(["a", "b", "c"], ["a", "x", "y", "c"]) == 2
    assert bench.changed(["a", "b"], ["a"]) == 1
    assert bench.changed([""], []) == 0
