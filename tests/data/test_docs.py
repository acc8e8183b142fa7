"""The examples of the page on data formats work as they stand there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from capwright.data import check_dataset, open_dataset, read_captions
from capwright.data.alignment import KINDS
from capwright.data.images import FORMATS, MAX_ASPECT, MAX_PIXELS
from capwright.data.near_duplicates import MAX_BITS
from capwright.data.text_checks import LONGEST
from capwright.types import STATUSES
from places import ROOT

PAGE = (ROOT / "docs" / "data-formats.md").read_text(encoding="utf-8")


def block(before: str) -> str:
    found = re.search(re.escape(before) + r"\s*```\w*\n(.*?)```", PAGE, re.DOTALL)
    assert found, before
    return found[1]


def test_the_example_dataset(tmp_path: Path, painter: Callable[..., Path]) -> None:
    for name in ("samples.jsonl", "vocabulary.yaml"):
        (tmp_path / name).write_text(block(f"<!-- {name} -->"), encoding="utf-8")
    for seed, name in enumerate(("0001", "0002", "0003-front", "0003-back")):
        painter(tmp_path / "images" / f"{name}.jpg", seed, (240, 240))
    assert check_dataset(tmp_path).problems == ()
    dataset = open_dataset(tmp_path)
    assert dataset[0].terms[0].aliases == ("geo board", "geo-board")
    assert dataset.splits == {"train": 2, "val": 1}
    assert [path.name for path in dataset[2].images] == ["0003-front.jpg", "0003-back.jpg"]


def test_the_example_row_of_a_caption_file(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(block("one row a sample:"), encoding="utf-8")
    assert read_captions(tmp_path / "a.jsonl")["0001"]["finish"] == "stop"


def test_the_example_of_captions_to_score(capsys: pytest.CaptureFixture[str]) -> None:
    code = block('or of `{"caption": text}`.')
    exec(code, {})
    assert capsys.readouterr().out == re.findall(r"print\(finding\)   # (.*)", code)[0] + "\n"


def test_every_kind_of_finding_is_explained() -> None:
    table = PAGE.partition("### What is checked before")[2].partition("\n## ")[0]
    assert set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (.*?) \|", table, re.MULTILINE)))) == set(KINDS)


def test_numbers_and_names_are_those_of_the_code() -> None:
    assert all(f"`{status}`" in PAGE for status in STATUSES)
    assert f"more than {MAX_PIXELS // 10**6} million pixels" in PAGE
    assert f"{MAX_ASPECT} times the other" in PAGE
    assert f"at most {MAX_BITS} bits apart" in PAGE
    assert f"{LONGEST:,} characters" in PAGE
    assert {"JPEG", "PNG", "WEBP", "TGA"} <= set(FORMATS)
