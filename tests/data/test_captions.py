from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from capwright.data import CaptionWriter, append_captions, read_captions
from capwright.types import DataError


def row(i: int, text: str = "A geoboard.") -> dict[str, str]:
    return {"id": str(i), "caption": text}


def test_write_and_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "captions.jsonl"
    rows = [
        {"id": "a/1", "caption": "Zwei\nZeilen\u2028é", "image": "x.png", "tokens": 4},
        {"id": "b", "caption": "", "finish": "length"},
        {"id": "c", "caption": None, "status": "missing_image"},
    ]
    assert append_captions(path, rows) == 3
    assert append_captions(path, [row(7)]) == 1
    found = read_captions(path)
    assert list(found) == ["a/1", "b", "c", "7"]
    assert found["a/1"] == {**rows[0], "status": "ok", "finish": "stop"}
    assert (found["b"]["status"], found["b"]["finish"]) == ("empty", "length")
    assert (found["c"]["status"], found["c"]["caption"]) == ("missing_image", "")
    assert path.read_bytes().count(b"\n") == 4


def test_a_retry_replaces(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    append_captions(path, [{**row(1, ""), "status": "timeout"}, row(2), row(1, "Better.")])
    assert [(id, each["caption"]) for id, each in read_captions(path).items()] == [
        ("2", "A geoboard."),
        ("1", "Better."),
    ]


def test_bom_crlf_and_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"id": 1, "caption": "a"}\r\n\r\n{"id": "2", "caption": "b"}\r\n')
    assert list(read_captions(path)) == ["1", "2"]


@pytest.mark.parametrize("cut", range(1, 34))
def test_a_torn_last_line_is_skipped_then_removed(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "c.jsonl"
    append_captions(path, [row(1), row(2, "é")])
    whole = path.read_bytes()
    path.write_bytes(whole + json.dumps(row(3, "ü"), ensure_ascii=False).encode()[:cut])
    complete = cut >= len(json.dumps(row(3, "ü"), ensure_ascii=False).encode())
    assert len(read_captions(path)) == (3 if complete else 2)
    append_captions(path, [row(4)])
    assert list(read_captions(path)) == (["1", "2", "3", "4"] if complete else ["1", "2", "4"])


def test_a_torn_line_longer_than_a_block(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    append_captions(path, [row(1)])
    with open(path, "a") as file:
        file.write('{"id": "2", "caption": "' + "word " * 40_000)
    append_captions(path, [row(3)])
    assert list(read_captions(path)) == ["1", "3"]
    path.write_text('{"id": "torn')
    append_captions(path, [row(3)])
    assert list(read_captions(path)) == ["3"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "not valid JSON"),
        ("[]", "a row must be an object"),
        ('{"caption": "a"}', '"id" must be text'),
        ('{"id": "2", "captoin": "a"}', '"caption" must be text'),
        ('{"id": "2", "caption": 3}', '"caption" must be text'),
        ('{"id": "2", "caption": "a", "status": "fine"}', 'status "fine" is not one of ok'),
        ('{"id": "2", "caption": "a", "finish": "end"}', 'finish "end" is not one of stop'),
    ],
)
def test_mistakes_name_the_line(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text(f'{{"id": "1", "caption": "a"}}\n{line}\n{{"id": "3", "caption": "a"}}\n')
    with pytest.raises(DataError) as caught:
        read_captions(path)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert reason in str(caught.value)


def test_bad_rows_are_not_written(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    for bad in (
        {"id": "", "caption": "a"},
        {"id": "1", "caption": "\ud800"},
        {"id": "1", "caption": "a", "x": float("nan")},
    ):
        with pytest.raises(DataError, match=r"c\.jsonl: the row of"):
            append_captions(path, [row(9), bad])
    assert list(read_captions(path)) == ["9"]


def test_full_disk_leaves_a_good_file(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(DataError, match=r"c\.jsonl: cannot be written: the disk \(or your quota\) is full"):
            append_captions(path, (row(i, "word " * 20) for i in range(100)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    done = read_captions(path)
    assert 3 < len(done) < 100
    assert path.read_bytes().endswith(b"}\n")
    append_captions(path, (row(i) for i in range(100) if str(i) not in done))
    assert list(read_captions(path)) == [str(i) for i in range(100)]


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="cannot be written"):
        CaptionWriter(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        CaptionWriter(tmp_path / "file" / "c.jsonl")
    with pytest.raises(DataError, match="cannot be read: no such file"):
        read_captions(tmp_path / "none.jsonl")

    def refuse(*args: object, **kwargs: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(DataError, match="no permission"):
        CaptionWriter(tmp_path / "c.jsonl")


def test_killed_while_writing(tmp_path: Path) -> None:
    """A process that is killed at any moment leaves a file that can be read and continued."""
    path = tmp_path / "c.jsonl"
    code = (
        "import itertools, sys; from capwright.data.captions import append_captions;"
        "append_captions(sys.argv[1], ({'id': str(i), 'caption': 'word ' * 50} for i in itertools.count()))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(path)])
    try:
        while not path.exists() or path.stat().st_size < 50_000:
            assert process.poll() is None
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = read_captions(path)
    assert list(done) == [str(i) for i in range(len(done))]
    append_captions(path, [row(-1)])
    assert len(read_captions(path)) == len(done) + 1
