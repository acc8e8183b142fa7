from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capwright.data import open_dataset, write_dataset
from capwright.data.json_items import JsonText
from capwright.types import DataError, Question, Region, Sample


def write(root: Path, name: str, value: Any, **options: Any) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value, **options), encoding="utf-8")
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder as other people would write it: indented, split lists of both kinds, bare image names."""
    write(
        tmp_path,
        "captions.json",
        {str(i): {"image": f"{i}.jpg", "captions": [f"Caption {i}."]} for i in range(4)},
        indent=2,
    )
    write(tmp_path, "toy_labels.json", {"3": [{"name": "geoboard", "level": "vague"}], "1": ["geoboard"]}, indent=2)
    write(tmp_path, "region_labels.json", {"2": [{"box": [0, 0, 5, 5], "label": "geoboard"}]})
    write(tmp_path, "meta.json", {"0": {"questions": [{"text": "q"}], "meta": {"area": "garden"}}})
    write(tmp_path, "splits/train.json", ["3", "0"], indent=1)
    write(tmp_path, "splits/val.txt", "\ufeff1\r\n\r\n2\r\n")
    write(tmp_path, "vocabulary.yaml", "geoboard: {category: board}\n")
    return tmp_path


def test_files_are_joined_by_id(root: Path) -> None:
    dataset = open_dataset(root)
    assert dataset.layout == "ecac"
    assert [s.id for s in dataset] == ["0", "1", "2", "3"]
    assert dataset.splits == {"train": 2, "val": 2}
    assert dataset[0].image == root / "images/0.jpg"
    assert dataset[0].references == ("Caption 0.",)
    assert dataset[0].questions == (Question("q"),)
    assert dataset[0].meta == {"area": "garden"}
    assert dataset[2].regions == (Region((0, 0, 5, 5), "geoboard"),)
    assert [term.level for s in dataset for term in s.terms] == ["professional", "vague"]
    assert open_dataset(root / "captions.json", split="val").by_id("2").id == "2"


def test_captions_alone_are_enough(tmp_path: Path) -> None:
    write(tmp_path, "captions.json", {"a": {"image": "images/x.png", "captions": []}})
    sample = open_dataset(tmp_path)[0]
    assert (sample.image, sample.split, sample.references) == (tmp_path / "images/x.png", "train", ())


def test_samples_in_no_split_file(root: Path) -> None:
    write(root, "splits/val.txt", "1\n")
    assert open_dataset(root).splits == {"train": 2, "val": 1, "unassigned": 1}


def test_fingerprint_sees_every_file(root: Path) -> None:
    seen = {open_dataset(root).fingerprint}
    for name, value in (
        ("toy_labels.json", {"1": ["geoboard"]}),
        ("region_labels.json", {}),
        ("meta.json", {}),
        ("splits/val.txt", "2\n"),
    ):
        write(root, name, value)
        seen.add(open_dataset(root).fingerprint)
    assert len(seen) == 5


@pytest.mark.parametrize(
    ("name", "value", "place", "reason"),
    [
        ("captions.json", "[]", "captions.json:1", "must be one object"),
        ("captions.json", "", "captions.json:1", "must be one object"),
        ("captions.json", '{\n"a": {},\n}', "captions.json:3", "a comma too many"),
        ("captions.json", '{\n"a": {"image": "x"}\n"b": {}}', "captions.json:3", 'expected "," or "}"'),
        ("captions.json", '{"a": {"image": "x"}} {}', "captions.json:1", 'more after the closing "}"'),
        ("captions.json", '{"a" 1}', "captions.json:1", 'expected ":" after "a"'),
        ("captions.json", '{"a": {"image": "x"},\n"b": {"image": ', "captions.json:2", "not valid JSON"),
        ("captions.json", '{"a": {"image": "x"},\n"b": NaN}', "captions.json:2", "NaN"),
        ("captions.json", '{"a": 3}', "captions.json:1", "a row must be an object"),
        ("captions.json", '{"a": {"captions": []}}', "captions.json:1", "image is missing"),
        ("captions.json", '{"1": {"image": "x"},\n"1": {"image": "x"}}', "captions.json:2", "used on line 1"),
        ("toy_labels.json", '{"0": [],\n"9": []}', "toy_labels.json:2", "not in captions.json"),
        ("toy_labels.json", '{"0": [],\n"0": []}', "toy_labels.json:2", "used on line 1"),
        ("toy_labels.json", '{"0": [],\n"1": ["geobord"]}', "toy_labels.json:2", 'did you mean "geoboard"?'),
        ("region_labels.json", '{"0": [],\n"1": [{"box": 1}]}', "region_labels.json:2", "four numbers"),
        ("meta.json", '{"0": {},\n"1": []}', "meta.json:2", "meta must be an object"),
        ("meta.json", '{"0": {},\n"1": {"questions": 3}}', "meta.json:2", "questions must be a list"),
        ("splits/train.json", '["0",\n"9"]', "train.json:2", 'the id "9" is not in captions.json'),
        ("splits/train.json", '["0",\n"1"]', "val.txt:1", '"1" is also in the split "train"'),
        ("splits/train.json", '["0",\nnull]', "train.json:2", "must be text"),
        ("splits/train.json", '{"0": 1}', "train.json:1", "must be one list"),
        ("splits/val.json", "[]", "val.txt", "both a .json and a .txt"),
    ],
)
def test_mistakes_name_file_and_line(root: Path, name: str, value: str, place: str, reason: str) -> None:
    if name == "captions.json":
        for other in ("toy_labels.json", "region_labels.json", "meta.json", "splits/train.json", "splits/val.txt"):
            (root / other).unlink()
    write(root, name, value)
    with pytest.raises(DataError) as caught:
        open_dataset(root)
    assert f"{place}: " in str(caught.value)
    assert reason in str(caught.value)


def test_bytes_that_are_not_utf8(root: Path) -> None:
    (root / "captions.json").write_bytes(b'{"a": {"image": "x"},\n"caf\xe9": {}}')
    with pytest.raises(DataError, match=r"captions\.json:2: byte 0xe9 is not UTF-8"):
        open_dataset(root)
    (root / "captions.json").write_bytes('{"a": {}}'.encode("utf-16"))
    with pytest.raises(DataError, match="UTF-16"):
        open_dataset(root)


def test_a_file_that_changes_changes_nothing(root: Path) -> None:
    """The folder was imported when it was opened."""
    dataset = open_dataset(root)
    before = list(dataset)
    write(root, "captions.json", {"z": {"image": "x", "captions": []}})
    assert list(dataset) == list(pickle.loads(pickle.dumps(dataset))) == before


def test_the_fingerprint_is_the_one_it_always_was(root: Path) -> None:
    """Runs and journals that were begun on an ECAC folder go on."""
    assert open_dataset(root).fingerprint == "00c45e98527c96e0"


def test_the_bytes_that_are_written(tmp_path: Path) -> None:
    samples = [
        Sample("1", tmp_path / "1.jpg", ("é",), split="a/b", meta={"n": 1}),
        Sample("2", tmp_path / "2.jpg", regions=(Region((0, 0, 1, 1)),)),
    ]
    out = write_dataset(samples, tmp_path / "out", layout="ecac", images="keep")
    assert {path.relative_to(out).as_posix(): path.read_text("utf-8") for path in sorted(out.rglob("*.json"))} == {
        "captions.json": f'''{{
"1": {{"image": "{tmp_path}/1.jpg", "captions": ["é"]}},
"2": {{"image": "{tmp_path}/2.jpg", "captions": []}}
}}
''',
        "meta.json": '{\n"1": {"meta": {"n": 1}}\n}\n',
        "region_labels.json": '{\n"2": [{"box": [0.0, 0.0, 1.0, 1.0], "label": "", "caption": ""}]\n}\n',
        "splits/a%2Fb.json": '[\n"1"\n]\n',
        "splits/train.json": '[\n"2"\n]\n',
        "toy_labels.json": "{\n}\n",
    }


@settings(max_examples=100, deadline=None)
@given(
    value=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
        st.recursive(
            st.one_of(st.none(), st.integers(), st.text(st.characters(exclude_categories=["Cs"]), max_size=9)),
            lambda inner: st.lists(inner, max_size=3),
            max_leaves=5,
        ),
        max_size=6,
    ),
    indent=st.sampled_from([None, 0, 3]),
    ascii_only=st.booleans(),
    bom=st.booleans(),
)
def test_items_are_what_json_reads(
    tmp_path_factory: pytest.TempPathFactory, value: dict[str, Any], indent: int | None, ascii_only: bool, bom: bool
) -> None:
    """Every entry is found, and its key stands on the line where it is said to stand."""
    path = tmp_path_factory.mktemp("entries") / "a.json"
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    path.write_bytes(b"\xef\xbb\xbf" * bom + text.encode())
    found = list(JsonText(path).entries())
    assert [(key, each) for _, key, each in found] == list(value.items())
    lines = text.split("\n")
    for line, key, _ in found:
        assert json.dumps(key, ensure_ascii=ascii_only) in lines[line - 1]
    path.write_text(json.dumps(list(value), indent=indent, ensure_ascii=ascii_only), encoding="utf-8")
    assert [each for _, each in JsonText(path).elements()] == list(value)
