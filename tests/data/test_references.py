from __future__ import annotations

import csv
import gzip
import io
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capwright.data import Dataset, read_references
from capwright.data.formats.tables import table_rows
from capwright.scenes import expert_captions, sample_scene, to_sample
from capwright.types import NO_IMAGE, DataError, Sample
from places import CAPTIONS, PHOTOS

#: Two images, three references: what every format below says.
TOLD = {"391895": ("A cat, on a mat.", "Ein Käfer \u2028 läuft"), "b": ("A dog.",)}


def put(path: Path, value: Any) -> Path:
    text = value if isinstance(value, str) else json.dumps(value)
    data = text.encode("utf-8")
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def references(samples: Any) -> dict[str, tuple[str, ...]]:
    return {sample.id: sample.references for sample in samples}


def lines(rows: list[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


PAIRS = [(int(id) if id.isdecimal() else id, list(texts)) for id, texts in TOLD.items()]
FLAT = [(id, text) for id, texts in PAIRS for text in texts]
COCO = {
    "images": [{"id": id, "file_name": f"{id}.jpg"} for id, _ in PAIRS],
    "annotations": [{"id": n, "image_id": id, "caption": text} for n, (id, text) in enumerate(FLAT)],
}
KARPATHY = {
    "dataset": "coco",
    "images": [
        {
            "cocoid": id,
            "imgid": 7,
            "filepath": "val2014",
            "filename": f"{id}.jpg",
            "split": "test" if id == "b" else "restval",
            "sentences": [{"raw": text, "tokens": ["x"]} for text in texts],
        }
        for id, texts in PAIRS
    ],
}
FORMATS = {
    "coco": COCO,
    "coco-without-images": {"annotations": COCO["annotations"]},
    "karpathy": KARPATHY,
    "mapping": {str(id): texts for id, texts in PAIRS},
    "mapping-of-dicts": {str(id): [{"caption": text} for text in texts] for id, texts in PAIRS},
    "gts": {"gts": {str(id): texts for id, texts in PAIRS}, "res": {"b": ["no"]}},
    "list": [{"image_id": id, "captions": texts} for id, texts in PAIRS],
    "list-of-references": [{"id": id, "caption": "said", "references": texts} for id, texts in PAIRS],
    "list-flat": [{"image_id": id, "id": 5, "caption": text} for id, text in FLAT],
    "jsonl": lines([{"id": id, "references": texts} for id, texts in PAIRS]),
    "jsonl-flat": lines([{"image_id": id, "caption": text} for id, text in FLAT]),
    "csv": 'image_id,caption\n391895,"A cat, on a mat."\n391895,Ein Käfer \u2028 läuft\nb,A dog.\n',
    "csv-columns": 'ID;caption_1;caption_2\r\n391895;A cat, on a mat.;"Ein Käfer \u2028 läuft"\r\nb;A dog.;\r\n;;\r\n',
    "tsv": "\ufeffn\tid\treference\n1\t391895\tA cat, on a mat.\n1\t391895\tEin Käfer \u2028 läuft\n1\tb\tA dog.\n",
}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("name", FORMATS)
def test_formats_are_known_by_their_content(tmp_path: Path, name: str, packed: bool) -> None:
    path = put(tmp_path / ("any.gz" if packed else "any.thing"), FORMATS[name])
    assert references(read_references(path)) == TOLD
    assert all(sample.image == NO_IMAGE for sample in read_references(path))


@pytest.mark.parametrize("name", [name for name, value in FORMATS.items() if not isinstance(value, str)])
def test_the_same_objects_in_memory(name: str) -> None:
    assert references(read_references(FORMATS[name])) == TOLD  # type: ignore[arg-type]


def test_numbers_and_texts_are_the_same_id() -> None:
    assert references(read_references({391895: "A cat."})) == {"391895": ("A cat.",)}
    assert list(references(read_references({"007": "x", "7": "y"}))) == ["007", "7"]
    with pytest.raises(DataError, match=r'"7" is there twice'):
        read_references({7: "x", "7": "y"})


def test_the_sets_that_published_numbers_are_of() -> None:
    tokens = json.loads(gzip.decompress((CAPTIONS / "val2017_nn_tokens.json.gz").read_bytes()))["gts"]
    started = time.perf_counter()
    samples = read_references(CAPTIONS / "val2017_references.json.gz")
    assert time.perf_counter() - started < 3  # 0.1 s on a free machine
    assert [sample.id for sample in samples] == list(tokens)
    assert [len(sample.references) for sample in samples] == [len(texts) for texts in tokens.values()]
    assert samples[0].references[0] == "A man is in a kitchen making pizzas."
    assert samples[0].meta["file_name"] == "000000397133.jpg"
    assert len(read_references(CAPTIONS / "fakecap1000_references.json.gz")) == 1000
    given = read_references(CAPTIONS / "val2017_human4_tokens.json.gz")
    assert {len(sample.references) for sample in given} <= {4, 5, 6}


def test_boxes_of_the_same_document_become_terms_and_images_are_found() -> None:
    samples = read_references(PHOTOS / "annotations.json", images_dir=PHOTOS)
    assert len(samples) == 34
    assert all(sample.image.exists() and sample.terms and sample.regions for sample in samples)
    assert references(samples) == references(read_references(PHOTOS / "annotations.json"))


def test_datasets(photo_dataset: Path) -> None:
    whole = read_references(photo_dataset)
    assert isinstance(whole, Dataset)
    assert len(read_references(photo_dataset / "samples.jsonl", split="val")) == 6
    assert len(read_references(whole, split="test")) == 6
    assert read_references(list(whole)) == list(whole)
    moved = photo_dataset / "references.gz"
    moved.write_bytes(gzip.compress((photo_dataset / "samples.jsonl").read_bytes()))
    assert list(read_references(moved)) == list(whole)
    assert len(read_references(moved, split="val")) == 6


def test_an_ecac_file_and_a_coco_file_of_the_same_name(tmp_path: Path) -> None:
    put(tmp_path / "captions.json", {"0001": {"image": "1.jpg", "captions": ["A girl."]}})
    assert references(read_references(tmp_path / "captions.json")) == {"0001": ("A girl.",)}
    assert isinstance(read_references(tmp_path / "captions.json"), Dataset)
    put(tmp_path / "captions.json", COCO)
    assert references(read_references(tmp_path / "captions.json")) == TOLD


def test_the_kindergarten_in_memory() -> None:
    samples = [to_sample(sample_scene(0, index), "x.png") for index in range(3)]
    assert [list(s.references) for s in read_references(samples)] == [
        expert_captions(sample_scene(0, index)) for index in range(3)
    ]


@pytest.mark.parametrize(("split", "ids"), [("test", ["b"]), ("restval", ["391895"]), (None, ["391895", "b"])])
def test_splits_of_a_karpathy_file(tmp_path: Path, split: str | None, ids: list[str]) -> None:
    path = put(tmp_path / "dataset_coco.json", KARPATHY)
    samples = read_references(path, split=split, images_dir="images")
    assert [sample.id for sample in samples] == ids
    assert samples[-1].image == Path("images", "val2014", f"{ids[-1]}.jpg")


def test_karpathy_files_of_other_datasets(tmp_path: Path) -> None:
    document = {"images": [{"filename": "a.jpg", "split": "val", "sentences": [{"tokens": ["a", "cat"]}]}]}
    assert references(read_references(document)) == {"a.jpg": ("a cat",)}
    document["images"].append({"sentences": []})
    with pytest.raises(DataError, match=r"images\[1\]: the id must be text"):
        read_references(document)


def test_splits_of_other_files(tmp_path: Path) -> None:
    path = put(tmp_path / "r.csv", "id,caption,split\n1,a,val\n2,b,test\n")
    assert references(read_references(path, split="val")) == {"1": ("a",)}
    with pytest.raises(DataError, match=r'no split "vals" \(did you mean "val"\?\); there are: "val" \(1\), "test"'):
        read_references(path, split="vals")
    with pytest.raises(DataError, match="names no splits"):
        read_references({"1": "a"}, split="train")
    with pytest.raises(DataError, match="names no splits"):
        read_references(COCO, split="train")


BROKEN = {
    "": "is empty",
    "\n \n": "is empty",
    "[]": "holds no references",
    "{}": "holds no references",
    '{"images": [], "annotations": []}': "has no images",
    '[{"caption": "x"}]': "item 1: has no id",
    '[{"imageid": 1, "caption": "x"}]': 'did you mean "image_id"',
    '[{"id": 1, "captoin": "x"}]': 'did you mean "caption"',
    '[{"id": true, "caption": "x"}]': "not true or false",
    '[{"id": 1.5, "caption": "x"}]': "not 1.5",
    '[{"id": " ", "caption": "x"}]': "the id is empty",
    '[{"id": 1, "captions": ["x", 5]}]': "must be text, not a number",
    '[{"id": 1, "caption": "\\ud83d"}]': "surrogate",
    '["x"]': "item 1: must be an object",
    '{"1": null}': 'key "1": references must be text',
    '{"1": "x", "1": "y"}': 'the key "1" is used twice',
    '{"1": "x",\n "2": oops}': ":2: not valid JSON",
    '{"id": 1, "caption": "x"}\n{"id": 2, "caption" "x"}\n': ":2: not valid JSON",
    '{"id": 1, "caption": "x"}\n[1]\n': ":2: must be an object",
    '{"id": 1, "caption": "x", "status": "ok"}\n': "were they swapped",
    '{"res": {"1": ["x"]}}': 'no "gts"',
    '{"gts": [1]}': '"gts" must be an object',
    "1,A cat\n": "must name an id column",
    '{"1": "x",\n "2": "y\n': ":2: not valid JSON: invalid control character at column 9;",
    "id,id,caption\n1,2,a cat\n": ':1: the first line names the column "id" twice',
    "id,caption,Split,split\n1,a cat,a,b\n": 'names the column "split" twice',
    '{"images": [{"id": 1}, {"id": 2}, {"id": "1"}]}': 'the id "1" is there twice, as a number and as text',
    "id,captoin\n1,x\n": 'did you mean "caption"',
    "id,caption\n1,a cat, sitting\n": ":2: there are 3 cells",
    'id,caption\n1,"a cat\n2,b\n': ":2: a quote is opened here and not closed",
    'id,caption\n1,"a" cat\n': ":2: the quotes do not fit",
    "id,caption\n1,a\rb\n": ":2: a carriage return",
    "id,caption\r1,a\r2,b\r": ":1: lines end in a lone carriage return",
    "id,caption\nx\n": ":2: has no references",
    'id\tcaption\n1\t"a\n2\tb"\n': ":2: the quote that opens here closes 1 lines later",
}


@pytest.mark.parametrize("text", BROKEN, ids=range(len(BROKEN)))
def test_what_is_broken_is_named_with_its_place(tmp_path: Path, text: str) -> None:
    path = put(tmp_path / "references", text)
    with pytest.raises(DataError) as caught:
        read_references(path)
    assert str(caught.value).startswith(str(path))
    assert BROKEN[text] in str(caught.value)


def test_the_first_line_of_a_jsonl_file_is_named(tmp_path: Path) -> None:
    path = put(tmp_path / "r.jsonl", '{"id": 1, caption": "x"}\n{"id": 2, "caption": "x"}\n')
    with pytest.raises(DataError, match=r"r\.jsonl:1: not valid JSON"):
        read_references(path)


def test_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    for name, data in {
        "a.csv": b"id,caption\n1,caf\xe9\n",
        "a.jsonl": b'{"id": 1, "caption": "a"}\n{"id": 2, "caption": "caf\xe9"}\n',
        "a.json": b'{"1": "a",\n"2": "caf\xe9"}',
    }.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError, match=rf"{name}:2: byte 0xe9 is not UTF-8"):
            read_references(tmp_path / name)
    (tmp_path / "excel.txt").write_bytes("id\tcaption\n1\tx\n".encode("utf-16"))
    with pytest.raises(DataError, match=r"excel\.txt:1: this is UTF-16 text"):
        read_references(tmp_path / "excel.txt")


def test_files_that_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_references(tmp_path / "none.json")
    with pytest.raises(DataError, match="capwright scenes build"):
        read_references(tmp_path / "kindergarten")
    packed = gzip.compress(b'{"1": "x"}' * 1000)
    (tmp_path / "cut.gz").write_bytes(packed[:-12])
    with pytest.raises(DataError, match="cut off or damaged"):
        read_references(tmp_path / "cut.gz")
    with pytest.raises(DataError, match="give a path, a mapping"):
        read_references(7)  # type: ignore[arg-type]


def test_tab_separated_text_with_quotes_that_are_not_quoting(tmp_path: Path) -> None:
    path = put(tmp_path / "r.tsv", 'id\tcaption\n1\t"Hello" he said\n2\ta 3" pipe\n3\t"He said ""no"""\n4\t"a\nb"\n')
    assert references(read_references(path)) == {
        "1": ('"Hello" he said',),
        "2": ('a 3" pipe',),
        "3": ('He said "no"',),
        "4": ("a\nb",),
    }


def test_line_numbers_count_lines_inside_cells(tmp_path: Path) -> None:
    text = b'id,caption\n1,"a\nb"\n\n2,x\n'
    assert [number for number, _ in table_rows(io.BytesIO(text), Path("t"))] == [2, 5]


TEXTS = st.dictionaries(
    st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda id: id == id.strip() != "" and "\0" not in id),
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=1, max_size=3),
    min_size=1,
    max_size=4,
)
#: Ids that would make an object look like something else.
NAMES = {"images", "annotations", "gts", "res"}


def as_table(told: dict[str, list[str]], dialect: str) -> str:
    out = io.StringIO(newline="")
    writer = csv.writer(out, dialect)
    writer.writerow(["id", "caption"])
    writer.writerows([id, text] for id, texts in told.items() for text in texts)
    return out.getvalue()


WRITERS: dict[str, Callable[[dict[str, list[str]]], str]] = {
    "json": lambda told: json.dumps(told, ensure_ascii=False),
    "list": lambda told: json.dumps([{"id": id, "captions": texts} for id, texts in told.items()], indent=1),
    "jsonl": lambda told: "".join(
        json.dumps({"id": id, "references": texts}, ensure_ascii=False) + "\r\n" for id, texts in told.items()
    ),
    "csv": lambda told: as_table(told, "excel"),
    "tsv": lambda told: as_table(told, "excel-tab"),
}


@pytest.mark.parametrize("name", WRITERS)
@given(told=TEXTS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_comes_back_under_its_id(tmp_path: Path, name: str, told: dict[str, list[str]]) -> None:
    if NAMES & set(told):
        told = {f"-{id}": texts for id, texts in told.items()}
    path = tmp_path / "told"
    path.write_text(WRITERS[name](told), encoding="utf-8", newline="")
    cells = [*told, *(text for texts in told.values() for text in texts)]
    if name == "tsv" and any("\n" in cell and "\t" in cell for cell in cells):
        with pytest.raises(DataError, match="lines later"):
            read_references(path)
    else:
        assert references(read_references(path)) == {id: tuple(texts) for id, texts in told.items()}


def test_samples_in_memory_are_given_back() -> None:
    sample = Sample("1", NO_IMAGE, ("a",), split="val")
    assert read_references([sample]) == [sample]
    assert read_references([sample, replace(sample, id="2", split="test")], split="val") == [sample]


def test_what_rows_say_besides_is_meta_where_all_rows_of_an_id_agree(tmp_path: Path) -> None:
    table = "id,caption,video,writer\n1,a cat,v1,ann\n1,the cat,v1,ben\n2,a dog,v2,ann\n"
    assert [dict(sample.meta) for sample in read_references(put(tmp_path / "x.csv", table))] == [
        {"video": "v1"},
        {"video": "v2", "writer": "ann"},
    ]
    rows = [{"id": 1, "references": ["a cat"], "meta": {"video": "v1"}, "file_name": "1.jpg", "split": "test"}]
    (sample,) = read_references(put(tmp_path / "x.json", rows))
    assert dict(sample.meta) == {"video": "v1", "file_name": "1.jpg"}
