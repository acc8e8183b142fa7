"""Result files of benchmarks: what they say, that they can be continued, and that they are never half written."""

from __future__ import annotations

import json

import numpy as np
import pytest

import results_file
from results_file import (
    append_row,
    append_rows,
    command_line,
    find_row,
    keep_origin,
    origin_of,
    read_results,
    whole_rows,
    write_results,
)


def test_a_file_says_where_its_rows_come_from(tmp_path):
    path = tmp_path / "new" / "some.json"
    write_results(path, [{"arm": "a", "value": 1 / 3}], seeds=[0, 1], peers=["pyyaml", "not-there"], latency=0.05)
    found = read_results(path)
    assert list(found) == [*results_file.ORIGIN, "seeds", "latency", "rows"]
    assert {"python", "torch", "numpy", "pyyaml"} <= set(found["versions"])
    assert list(found["versions"]) == sorted(found["versions"])
    assert found["cpu"]
    assert found["cores"] >= 1
    assert found["seeds"] == [0, 1]
    assert found["rows"] == [{"arm": "a", "value": 0.333333}]
    assert str(results_file.ROOT) not in path.read_text(encoding="utf-8")
    assert [each.name for each in path.parent.iterdir()] == ["some.json"], "nothing else is left"


def test_unknown_is_null_and_numbers_of_numpy_are_numbers(tmp_path):
    write_results(tmp_path / "a.json", [{"a": float("nan"), "b": np.float64(0.5), "c": np.array([1, 2]), "d": True}])
    assert read_results(tmp_path / "a.json")["rows"] == [{"a": None, "b": 0.5, "c": [1, 2], "d": True}]


def test_the_same_rows_are_the_same_bytes_and_a_short_row_is_one_line(tmp_path):
    rows = [{"arm": "a", "n": 1}, {"arm": "b", "text": "x" * 200}]
    for name in ("a.json", "b.json"):
        write_results(tmp_path / name, rows)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert text == (tmp_path / "b.json").read_text(encoding="utf-8")
    assert '\n  {"arm": "a", "n": 1},\n  {\n   "arm": "b",\n' in text


def test_rows_are_flat(tmp_path):
    with pytest.raises(TypeError, match="score is a record"):
        write_results(tmp_path / "a.json", [{"score": {"value": 1}}])
    assert not (tmp_path / "a.json").exists()


def test_rows_come_one_by_one_and_replace_their_like(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    key = ("arm", "seed")
    assert find_row(path, arm="a") is None
    append_row(path, {"arm": "a", "seed": 0, "value": 1.0}, key, seeds=[0], commit="old")
    append_row(path, {"arm": "b", "seed": 0, "value": 2.0}, key, seeds=[0], commit="old")
    append_row(path, {"arm": "a", "seed": 1, "value": 3.0}, key, seeds=[1], commit="new")
    found = read_results(path)
    assert found["seeds"] == [0, 1]
    assert found["commit"] == "old", "what most rows share"
    assert [row.get("commit") for row in found["rows"]] == [None, None, "new"]
    append_row(path, {"arm": "a", "seed": 0, "value": 4.0}, key, commit="new")
    found = read_results(path)
    assert found["commit"] == "new"
    assert [row["value"] for row in found["rows"]] == [4.0, 2.0, 3.0], "where the old one stood"
    assert [row.get("commit") for row in found["rows"]] == [None, "old", None]
    assert [row["commit"] for row in whole_rows(found)] == ["new", "old", "new"]
    assert find_row(path, arm="b", seed=0)["commit"] == "old"
    with pytest.raises(KeyError, match="no seed"):
        append_row(path, {"arm": "a"}, key)


def test_what_a_row_has_in_common_with_the_top_of_the_file_is_not_lost(tmp_path):
    path = tmp_path / "a.json"
    for threads in (1, 2, 1):
        append_row(path, {"threads": threads, "value": threads}, ("threads",), threads=1)
    assert len(read_results(path)["rows"]) == 2
    assert find_row(path, threads=1)["value"] == 1
    assert find_row(path, threads=2)["value"] == 2


def test_several_rows_and_versions_of_peers_by_name(tmp_path):
    path = tmp_path / "a.json"
    append_rows(path, [{"table": "a", "n": 1}], ("n",), peers={"pycocoevalcap": "1.2", "gone": None})
    append_rows(path, [{"arm": "x", "n": 2}, {"arm": "y", "n": 3}], ("arm", "n"))
    assert len(read_results(path)["rows"]) == 3, "a row of another table stays"
    assert find_row(path, n=1)["versions"]["pycocoevalcap"] == "1.2"
    assert "pycocoevalcap" not in find_row(path, n=2)["versions"]


def test_rows_of_runs_that_were_made_earlier_say_so(tmp_path, monkeypatch):
    for name, commit, dirty in (("a", "one", False), ("b", "two", True)):
        monkeypatch.setattr(results_file, "COMMIT", commit)
        monkeypatch.setattr(results_file, "DIRTY", dirty)
        keep_origin(tmp_path / name)
        monkeypatch.setattr(results_file, "COMMIT", "later")
        keep_origin(tmp_path / name)
    assert origin_of([tmp_path / "a"])["commit"] == "one"
    assert origin_of([tmp_path / "b", tmp_path / "a"]) | {"date": ""} == {
        "commit": "one and two",
        "dirty": True,
        "date": "",
    }
    assert origin_of([tmp_path]) == {}


def test_a_command_names_no_place_of_this_machine(tmp_path):
    root = results_file.ROOT
    words = [f"{root}/benchmarks/tts.py", "--json", f"{tmp_path}/a.json", f"--runs={root}/runs/a", "--arms", "a->b"]
    found = command_line(words, {"OMP_NUM_THREADS": "1", "HOME": "x"})
    assert found == "OMP_NUM_THREADS=1 python benchmarks/tts.py --json a.json --runs=runs/a --arms 'a->b'"


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps([1]), encoding="utf-8")
    with pytest.raises(ValueError, match="not a result file"):
        read_results(path)
