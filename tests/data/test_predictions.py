from __future__ import annotations

import csv
import gzip
import io
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capwright.data import append_captions, read_captions, read_predictions
from capwright.data.model_text import never_answers
from capwright.types import Caption, DataError
from places import CAPTIONS

SAID = {"391895": "A cat, on a mat.", "b": "Ein Käfer \u2028 läuft"}


def put(path: Path, value: Any) -> Path:
    text = value if isinstance(value, str) else json.dumps(value)
    data = text.encode("utf-8")
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def texts(found: dict[str, Any]) -> dict[str, Any]:
    """Captions by id, where every row is complete."""
    for id, said in found.items():
        for row in said if isinstance(said, list) else [said]:
            assert row["id"] == id
            assert row["finish"] == "stop"
            assert row["status"] == ("ok" if row["caption"].strip() else "empty")
    return {
        id: [row["caption"] for row in said] if isinstance(said, list) else said["caption"]
        for id, said in found.items()
    }


ROWS: list[Any] = [(int(id) if id.isdecimal() else id, text) for id, text in SAID.items()]
FORMATS = {
    "coco-results": [{"image_id": id, "caption": text} for id, text in ROWS],
    "list": [{"id": id, "prediction": text, "references": ["no"]} for id, text in ROWS],
    "mapping": dict(SAID),
    "mapping-of-lists": {id: [text] for id, text in SAID.items()},
    "mapping-of-rows": {id: {"caption": text, "status": "ok"} for id, text in SAID.items()},
    "res": {"gts": {"b": ["no", "no"]}, "res": {id: [{"caption": text}] for id, text in SAID.items()}},
    "jsonl": "".join(json.dumps({"image_id": id, "caption": text}) + "\n" for id, text in ROWS),
    "ours": "".join(json.dumps({"id": id, "caption": text, "status": "ok"}) + "\n" for id, text in ROWS),
    "csv": '\ufeffimage_id,caption\r\n391895,"A cat, on a mat."\r\nb,Ein Käfer \u2028 läuft\r\n',
    "csv-of-another-country": "id;Caption\n391895;A cat, on a mat.\nb;Ein Käfer \u2028 läuft\n",
    "csv-with-a-line-for-excel": "sep=;\r\nid;Caption\r\n391895;A cat, on a mat.\r\nb;Ein Käfer \u2028 läuft\r\n",
    "tsv": "caption\timage_id\nA cat, on a mat.\t391895\nEin Käfer \u2028 läuft\tb\n",
}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("name", FORMATS)
def test_formats_are_known_by_their_content(tmp_path: Path, name: str, packed: bool) -> None:
    path = put(tmp_path / ("said.gz" if packed else "said"), FORMATS[name])
    assert texts(read_predictions(path)) == SAID


@pytest.mark.parametrize("name", [name for name, value in FORMATS.items() if not isinstance(value, str)])
def test_the_same_objects_in_memory(name: str) -> None:
    assert texts(read_predictions(FORMATS[name])) == SAID  # type: ignore[arg-type]


def test_captions_in_memory() -> None:
    found = read_predictions({1: Caption("cut o", finish="length"), 2: [Caption("a"), "b"]})
    assert found["1"] == {"id": "1", "caption": "cut o", "status": "ok", "finish": "length"}
    assert texts({"2": found["2"]}) == {"2": ["a", "b"]}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"1": ["a", ""], "2": "c"}, {"1": ["a", ""], "2": "c"}),
        ({"res": {"1": ["a", ""], "2": ["c"]}}, {"1": ["a", ""], "2": "c"}),
        ([{"id": 1, "captions": ["a", "b"]}, {"id": 2, "captions": ["c"]}], {"1": ["a", "b"], "2": "c"}),
        ("id,caption_1,caption_2\n1,a,b\n2,c, \n", {"1": ["a", "b"], "2": "c"}),
    ],
)
def test_several_captions_of_one_image_where_the_format_says_so(tmp_path: Path, value: Any, expected: Any) -> None:
    assert texts(read_predictions(put(tmp_path / "said", value))) == expected


def test_the_sets_that_published_numbers_are_of() -> None:
    found = read_predictions(CAPTIONS / "fakecap1000_results.json.gz")
    assert len(found) == 1000
    assert texts(found)["404464"] == "black and white photo of a man standing in front of a building"
    assert len(read_predictions(CAPTIONS / "val2017_nn_results.json.gz")) == 5000
    tokens = json.loads(gzip.decompress((CAPTIONS / "fakecap1000_tokens.json.gz").read_bytes()))
    assert texts(read_predictions(CAPTIONS / "fakecap1000_tokens.json.gz")) == {
        id: said[0] for id, said in tokens["res"].items()
    }


def test_our_caption_files_keep_their_rules(tmp_path: Path) -> None:
    path = tmp_path / "captions.jsonl"
    append_captions(
        path,
        [
            {"id": "1", "caption": None, "status": "timeout"},
            {"id": "2", "caption": "x", "seconds": 0.5, "finish": "length"},
            {"id": "1", "caption": "better"},
        ],
    )
    with open(path, "ab") as handle:
        handle.write(b'{"id": "3", "capt')  # torn off by a crash
    found = read_predictions(path)
    assert found == read_captions(path)
    assert list(found) == ["2", "1"]
    assert found["2"]["seconds"] == 0.5  # type: ignore[call-overload]
    packed = put(tmp_path / "captions.jsonl.gz", path.read_text())
    assert read_predictions(packed) == read_captions(packed) == found


def test_unknown_stays_unknown(tmp_path: Path) -> None:
    rows = [{"image_id": 1, "status": "timeout"}, {"image_id": 2, "caption": ""}, {"image_id": 3, "caption": "x"}]
    found = read_predictions(put(tmp_path / "said.json", rows))
    assert [row["status"] for row in found.values()] == ["timeout", "empty", "ok"]  # type: ignore[call-overload]
    table = put(tmp_path / "said.csv", "id,caption,status,finish\n1,,refusal,stop\n2,x,ok,length\n")
    assert read_predictions(table)["1"] == {"id": "1", "caption": "", "status": "refusal", "finish": "stop"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"image_id": 1, "caption": "a"}, {"image_id": "1", "caption": "b"}]', ("item 2:", "used at {}: item 1")),
        ('{"id": 1, "caption": "a"}\n\n{"id": "1", "caption": "b"}\n', (":3:", "used at {}:1")),
        ('id,caption\n1,"a\nb"\n2,c\n1,b\n2,d\n', (":5:", "used at {}:2", "2 ids are there twice: 1, 2")),
    ],
    ids=["results", "jsonl", "csv"],
)
def test_a_repeated_id_names_both_places(tmp_path: Path, text: str, said: tuple[str, ...]) -> None:
    path = put(tmp_path / "said", text)
    with pytest.raises(DataError) as caught:
        read_predictions(path)
    assert all(part.format(path) in str(caught.value) for part in said)


BROKEN = {
    "[]": "holds no captions",
    '{"images": [{"id": 1}], "annotations": []}': "were they swapped",
    '{"images": [{"cocoid": 1, "sentences": []}]}': "were they swapped",
    '{"gts": {"1": ["x"]}}': 'no "res"',
    '{"res": ["x"]}': '"res" must be an object',
    '{"1": []}': "the list of captions is empty",
    '{"1": 5}': 'key "1": a caption must be text, not a number',
    '[{"id": 1, "references": ["x"]}]': "were references given as predictions",
    '[{"id": 1, "caption": null}]': "item 1: has no caption; give",
    "sep=,\nid,caption\n1,x,y\n": ":3: there are 3 cells",
    '[{"id": 1, "captoin": "x"}]': 'did you mean "caption"',
    '[{"id": 1, "caption": "x", "status": "fine"}]': 'status "fine"',
    '[{"id": 1, "caption": ["x", 5]}]': "must be text",
    '{"id": "1", "caption": "x", "status": "ok"}\n{"id": "2"}\n': ":2:",
    "id,caption,status\n1,x,fine\n": ':2: status "fine"',
}


@pytest.mark.parametrize("text", BROKEN, ids=range(len(BROKEN)))
def test_what_is_broken_is_named_with_its_place(tmp_path: Path, text: str) -> None:
    path = put(tmp_path / "said", text)
    with pytest.raises(DataError) as caught:
        read_predictions(path)
    assert str(caught.value).startswith(str(path))
    assert BROKEN[text] in str(caught.value)


def test_a_spreadsheet_export(tmp_path: Path) -> None:
    text = 'Image_ID,Caption,Notes\r\n7,"A ""big"" dog, running",fine\r\n 8 ,"two\r\nlines",\r\n,,\r\n'
    found = texts(read_predictions(put(tmp_path / "export.csv", text)))
    assert found == {"7": 'A "big" dog, running', "8": "two\r\nlines"}


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(FORMATS["ours"],), daemon=True)
    writer.start()
    assert texts(read_predictions(pipe)) == SAID
    writer.join(10)


def test_a_long_file_is_read_row_by_row(tmp_path: Path) -> None:
    """Rows are handed on before the end of the file has been seen: the mistake on the last line does not hide them."""
    from capwright.data.input_formats import open_source

    rows = "".join(f'{{"id": {n}, "caption": "x"}}\n' for n in range(1000))
    source = open_source(put(tmp_path / "said.jsonl", rows + "oops\n"))
    assert [next(source.rows).value["id"] for _ in range(1000)] == list(range(1000))
    with pytest.raises(DataError, match=r"said\.jsonl:1001"):
        next(source.rows)


ANY = st.dictionaries(
    st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda id: id == id.strip() != "" and "\0" not in id),
    st.text(st.characters(codec="utf-8", exclude_characters="\0")).filter(lambda text: not never_answers(text)),
    min_size=1,
    max_size=5,
)


def as_table(said: dict[str, str], dialect: str) -> str:
    out = io.StringIO(newline="")
    writer = csv.writer(out, dialect)
    writer.writerow(["caption", "image_id"])
    writer.writerows([text, id] for id, text in said.items())
    return out.getvalue()


WRITERS: dict[str, Callable[[dict[str, str]], str]] = {
    "mapping": lambda said: json.dumps(said, ensure_ascii=False),
    "results": lambda said: json.dumps([{"image_id": id, "caption": text} for id, text in said.items()]),
    "ours": lambda said: "".join(
        json.dumps({"id": id, "caption": text, "status": "ok"}, ensure_ascii=False) + "\n" for id, text in said.items()
    ),
    "jsonl": lambda said: "".join(
        json.dumps({"id": id, "caption": text}, ensure_ascii=False) + "\r\n" for id, text in said.items()
    ),
    "csv": lambda said: as_table(said, "excel"),
    "tsv": lambda said: as_table(said, "excel-tab"),
}


@pytest.mark.parametrize("name", WRITERS)
@given(said=ANY)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_comes_back_under_its_id(tmp_path: Path, name: str, said: dict[str, str]) -> None:
    path = tmp_path / "said"
    path.write_text(WRITERS[name](said), encoding="utf-8", newline="")
    if name == "tsv" and any("\n" in cell and "\t" in cell for cell in [*said, *said.values()]):
        with pytest.raises(DataError, match="lines later"):
            read_predictions(path)
    else:
        assert texts(read_predictions(path)) == said


def test_a_blank_status_in_a_table_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("id,caption,status,finish\n1,a cat,,\n2,,timeout,\n3,,,length\n", encoding="utf-8")
    found = read_predictions(tmp_path / "x.csv")
    assert [(row["status"], row["finish"]) for row in found.values()] == [
        ("ok", "stop"),
        ("timeout", "stop"),
        ("empty", "length"),
    ]


def test_a_cell_that_is_too_long_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(f'id,caption\n1,"{"a" * 140_000}"\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"x\.csv:2: a cell has more than 131,072 characters"):
        read_predictions(tmp_path / "x.csv")
