"""The benchmark of the blind reader: what it has right is what the filter leaves out."""

from __future__ import annotations

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "blind_reader.py"


def test_questions_with_a_usual_answer_are_left_out():
    spec = importlib.util.spec_from_file_location("blind_reader", SCRIPT)
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    rows = {row["kind"]: row for row in bench.measure(20, seed=0)}
    assert rows["count"]["share"] > 0.5 > rows["children"]["share"] > 0
    assert all(row["left_out"] == row["right"] for row in rows.values())
    assert rows["all"]["right"] == rows["count"]["right"] + rows["children"]["right"]
