"""The table of a run's scores: what leads, what is drawn, length and unknowns beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from capwright.evaluation import read_scoring
from capwright.report import write_report
from capwright.types import DataError
from html_page import Page


def near(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


def system(answers: float, words: float, **more: Any) -> dict[str, Any]:
    kinds = {"color": near(answers / 2)}
    return {
        "caprl": {"accuracy": near(answers), "abstained": near(0.2), "by_kind": kinds},
        "language": {"clarity": near(0.7), "language": near(0.8)},
        "length": {"words": near(words)},
        "samples": 200,
    } | more


def page_of(root: Path, summary: dict[str, Any]) -> Page:
    (root / "summary.json").write_text(json.dumps(summary), "utf-8")
    return Page(write_report(root, []).read_text("utf-8"))


def test_captions_that_were_only_measured_tell_no_story_of_training(tmp_path: Path) -> None:
    page = page_of(tmp_path, {"long": system(0.81, 30.0), "short": system(0.46, 10.0)})
    assert "caprl.accuracy: Long 0.810 and Short 0.460." in page.text
    assert "no measured score" not in page.text
    assert [attrs["id"] for attrs in page.all("section")] == ["scores", "gallery", "method"]
    assert "Captions of Long are 3.0 times as long as those of Short (30.0 against 10.0 words)" in page.text


def test_headlines_stand_side_by_side_and_the_rest_below(tmp_path: Path) -> None:
    page = page_of(tmp_path, {"a": system(0.81, 30.0), "b": system(0.46, 12.0)})
    start, more = page.text.index("How do the captions score?"), page.text.index("3 more numbers")
    end = page.text.index("Compared on")
    assert "A 30.0 wordsB 12.0 words" in page.text[start:more]
    for name in ("caprl.accuracy", "language 0.800"):
        assert name in page.text[start:more]
    for name in ("caprl.abstained", "caprl.kind:color 0.405", "language.clarity"):
        assert name in page.text[more:end]


def test_names_lead_where_they_were_measured(tmp_path: Path) -> None:
    tts = {"micro": near(31.0), "macro": near(30.0)}
    page = page_of(tmp_path, {"a": system(0.81, 30.0, tts=tts), "b": system(0.46, 30.0, tts=tts)})
    assert "A names 31 of 100 things professionally and B 31." in page.text
    assert "All scores, side by side" in page.text


def test_what_a_judge_did_not_say_stands_in_the_cell(tmp_path: Path) -> None:
    lost = {"scored": {"caprl": 150}, "unknown_by": {"caprl": {"timeout": 50}}, "unknown": {}}
    page = page_of(tmp_path, {"a": system(0.81, 30.0, **lost)})
    assert "50 images unknown" in page.text
    assert "caprl of A: 50 images could not be measured (timeout)" in page.text


def test_training_without_names_reports_what_it_measured(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("name: mine\n")
    rows = [
        {"kind": "eval", "stage": "caprl", "images_seen": 8 * n, "scores": {"caprl": {"accuracy": near(0.4 + n / 10)}}}
        for n in (0, 4)
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    row = {"a": "base", "b": "caprl", "score": "caprl.accuracy", "difference": 0.4, "low": 0.3, "high": 0.5, "p": 0.001}
    told = {"trained_on": {"caprl": "caprl|n:8"}}
    summary = {"base": system(0.41, 20.0), "caprl": system(0.81, 40.0), "comparisons": [row], "run": told}
    page = page_of(tmp_path, summary)
    assert "caprl.accuracy: Base 0.410 and CapRL 0.810." in page.text
    assert "trained on caprl, so caprl says how well the training worked" in page.text
    assert "Captions grew from 20 to 40 words" in page.text
    assert "CapRL against Base" in page.text
    assert "+0.400" in page.text
    assert "caprl.accuracy went from 0.40 to 0.80" in page.text
    assert [attrs["id"] for attrs in page.all("section")] == ["scores", "learning", "groups", "gallery", "method"]


def test_a_file_of_the_present_shape_says_the_same(tmp_path: Path) -> None:
    """Old files have a key a system and blocks a scorer; new ones `systems`, and scores by name."""
    old = {"a": system(0.81, 30.0), "b": system(0.46, 12.0), "comparisons": [], "signatures": {"caprl": "caprl|v:1"}}
    new = read_scoring(old)
    assert new["systems"]["a"]["scores"]["caprl.kind:color"] == near(0.405) | {
        "scorer": "caprl",
        "signature": "caprl|v:1",
    }
    assert new["systems"]["b"]["images"] == 200
    assert read_scoring(new) == new
    pages = []
    for name, document in (("old", old), ("new", {k: v for k, v in new.items() if k != "signatures"})):
        (tmp_path / name).mkdir()
        pages.append(page_of(tmp_path / name, document).text.replace(f"{name} ", ""))
    assert pages[0] == pages[1]
    listed = {"systems": [{"name": "a", "scores": new["systems"]["a"]["scores"]}]}
    assert read_scoring(listed)["systems"]["a"]["scores"] == new["systems"]["a"]["scores"]
    for wrong in ([], {"systems": [{"scores": {}}]}, {"systems": 3}):
        with pytest.raises(DataError):
            read_scoring(wrong)


def test_scores_that_captions_were_trained_on_are_marked_in_what_eval_writes(tmp_path: Path) -> None:
    scores = {"ciderD": near(0.6) | {"scorer": "ciderD", "signature": "ciderD|n:4", "trained_on": True}}
    page = page_of(tmp_path, {"systems": {"a": {"scores": scores, "images": 200}}})
    assert "trained on this" in page.text
    assert "A was trained on CIDEr-D" in page.text
