"""The benchmark of planted faults: every fault lowers a score, and every score misses a fault."""

from __future__ import annotations

import planted_faults as bench
from capwright.scenes import build


def test_faults_are_seen_by_some_scores_and_missed_by_others(tmp_path):
    scenes = build(200, 0, tmp_path / "scenes", size=24)
    rows = {row["captions"]: row for row in bench.measure(scenes, 20, seed=0)}
    expert = rows["an expert's"]
    assert (expert["answers"], expert["precision"], expert["recall"], expert["names"]) == (1, 1, 1, 100)
    joined = rows["the expert's, then another scene's"]
    assert joined["precision"] < 0.8 < expert["precision"]  # half of it is invented
    assert joined["names"] == 100
    assert rows["the expert's, said twice"]["dcscore"] == 100
    assert rows["the expert's, said twice"]["language"] < 0.8 < expert["language"]
    assert rows["the expert's of another scene"]["language"] > 0.8  # fluent, and wrong
    assert rows["the expert's of another scene"]["answers"] < 0.2
    assert rows["a list of the names"]["names"] == 100
    assert rows["a list of the names"]["recall"] < 0.5
    assert rows["the first half of the expert's"]["precision"] > 0.8 > rows["the first half of the expert's"]["recall"]
    assert [rows["empty"][column] for column in ("answers", "dcscore", "language", "words")] == [0, 0, 0, 0]
