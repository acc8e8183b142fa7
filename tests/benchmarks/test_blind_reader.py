"""The benchmark of the blind reader: what it has right is what the filter leaves out."""

from __future__ import annotations

import blind_reader as bench


def test_questions_with_a_usual_answer_are_left_out():
    rows = {row["kind"]: row for row in bench.measure(20, seed=0)}
    assert rows["count"]["share"] > 0.5 > rows["children"]["share"] > 0
    assert all(row["left_out"] == row["right"] for row in rows.values())
    assert rows["all"]["right"] == rows["count"]["right"] + rows["children"]["right"]
