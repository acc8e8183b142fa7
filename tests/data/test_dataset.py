from __future__ import annotations

import json
import pickle
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from capwright.data import Dataset, open_dataset, read_vocabulary
from capwright.types import DataError, Question, Region, Term

ROW = {
    "id": "1",
    "image": "images/1.png",
    "references": ["A geoboard."],
    "terms": [{"name": "geoboard", "level": "generic"}, "geo board"],
    "questions": [{"text": "What is it?", "options": ["a", "b"], "answer": "a", "kind": "name"}],
    "regions": [{"box": [0, 1, 2, 3.5], "label": "geoboard", "caption": "a board"}],
    "split": "train",
    "meta": {"casual": ["A toy."]},
}


def test_a_whole_row(folder: Callable[..., Path]) -> None:
    root = folder([ROW])
    sample = open_dataset(root)[0]
    board = Term("geoboard", ("geo board",), category="board")
    assert sample.id == "1"
    assert sample.image == root / "images/1.png"
    assert sample.references == ("A geoboard.",)
    assert sample.terms == (Term("geoboard", ("geo board",), category="board", level="generic"), board)
    assert sample.questions == (Question("What is it?", ("a", "b"), "a", "name"),)
    assert sample.regions == (Region((0.0, 1.0, 2.0, 3.5), "geoboard", "a board"),)
    assert (sample.split, sample.meta) == ("train", {"casual": ["A toy."]})


def test_defaults_and_friendly_forms(folder: Callable[..., Path]) -> None:
    root = folder([{"id": 7, "image": "/elsewhere/x.png", "references": "One.", "terms": None}])
    sample = open_dataset(root)[0]
    assert (sample.id, sample.image, sample.references, sample.split) == (
        "7",
        Path("/elsewhere/x.png"),
        ("One.",),
        "train",
    )
    assert sample.terms == sample.questions == sample.regions == ()
    assert sample.meta == {}


def test_several_images_a_sample(folder: Callable[..., Path]) -> None:
    root = folder([{"id": "1", "images": ["a.png", "/elsewhere/b.png"]}, {"id": "2", "images": ["c.png"]}])
    pair, single = open_dataset(root)
    assert pair.images == (pair.image, *pair.more_images) == (root / "a.png", Path("/elsewhere/b.png"))
    assert (single.images, single.more_images) == ((root / "c.png",), ())


def rows(n: int) -> list[dict[str, object]]:
    return [{"id": f"s/{i}", "image": "x.png", "split": ("train", "val", "my own")[i % 3]} for i in range(n)]


def test_sequence_splits_and_ids(folder: Callable[..., Path]) -> None:
    dataset = open_dataset(folder(rows(10)))
    assert isinstance(dataset, Dataset)
    assert (len(dataset), dataset.layout) == (10, "jsonl")
    assert dataset.splits == {"train": 4, "val": 3, "my own": 3}
    assert [s.id for s in dataset.split("val")] == ["s/1", "s/4", "s/7"]
    assert dataset.split("val").splits == {"val": 3}
    assert dataset.split("val").fingerprint == dataset.fingerprint
    assert [s.id for s in dataset[2:5]] == ["s/2", "s/3", "s/4"]
    assert dataset[-1].id == "s/9"
    assert dataset[2:5].by_id("s/4").id == "s/4"
    with pytest.raises(IndexError):
        dataset[10]
    with pytest.raises(DataError, match='no sample with id "s/9"'):
        dataset[2:5].by_id("s/9")
    with pytest.raises(DataError, match=r'no split "vla" \(did you mean "val"\?\); there are: "train" \(4\)'):
        dataset.split("vla")
    assert len(open_dataset(dataset.root, split="my own")) == 3
    assert len(open_dataset(dataset.root / "samples.jsonl")) == 10


def test_bom_crlf_blank_lines_and_odd_separators(folder: Callable[..., Path]) -> None:
    root = folder([])
    lines = [
        json.dumps({"id": str(i), "image": "x.png", "references": ["a\u2028b\x85c é"]}, ensure_ascii=False)
        for i in range(3)
    ]
    text = "\r\n\r\n".join(lines)
    (root / "samples.jsonl").write_bytes(b"\xef\xbb\xbf" + text.encode())
    dataset = open_dataset(root)
    assert [s.id for s in dataset] == ["0", "1", "2"]
    assert dataset[1].references == ("a\u2028b\x85c é",)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{not json", "not valid JSON"),
        ('{"id": "2", "image": "x.png", "meta": {"a": NaN}}', "NaN is not JSON"),
        ('{"id": "2", "image": "x.png"} {}', "not valid JSON"),
        ("[" * 100_000, "nested too deeply"),
        ([1], "a row must be an object"),
        ({"image": "x.png"}, "id is missing"),
        ({"id": " ", "image": "x.png"}, "id is empty"),
        ({"id": "2"}, "image is missing"),
        ({"id": "2", "image": 3}, "image must be text, not a number"),
        ({"id": "2", "image": "a\0.png"}, "zero character"),
        ({"id": "2", "image": "x.png", "images": ["x.png"]}, "both image and images; keep one"),
        ({"id": "2", "images": []}, "images must be a list such as"),
        ({"id": "2", "images": "x.png"}, "images must be a list such as"),
        ({"id": "2", "images": ["x.png", 3]}, "images[1] must be text, not a number"),
        ({"id": "2", "images": ["x.png", "a\0.png"]}, "images[1]: a file name cannot hold a zero character"),
        ({"id": "2", "image": "x.png", "references": {"a": 1}}, "references must be a list, not an object"),
        ({"id": "2", "image": "x.png", "references": [None, 3]}, "references[1] must be text, not a number"),
        ('{"id": "2", "image": "x.png", "references": ["\\ud83d"]}', "surrogate"),
        ({"id": "2", "image": "x.png", "terms": [3]}, "terms[0] must be a name"),
        ({"id": "2", "image": "x.png", "terms": [{"level": "vague"}]}, "terms[0]: the name is missing"),
        ({"id": "2", "image": "x.png", "terms": [{"name": "geoboard", "level": "exact"}]}, 'level "exact"'),
        (
            {"id": "2", "image": "x.png", "terms": ["geobord"]},
            '"geobord" is not in vocabulary.yaml (did you mean "geoboard"?)',
        ),
        ({"id": "2", "image": "x.png", "questions": ["a?"]}, "questions[0] must be an object"),
        ({"id": "2", "image": "x.png", "questions": [{}]}, "questions[0].text is missing"),
        ({"id": "2", "image": "x.png", "questions": [{"text": "a?", "options": "b"}]}, "options must be a list"),
        ({"id": "2", "image": "x.png", "regions": [{"box": [1, 2, 3]}]}, "four numbers"),
        ({"id": "2", "image": "x.png", "regions": [{"box": [1, 2, 3, True]}]}, "four numbers"),
        ({"id": "2", "image": "x.png", "regions": [3]}, "regions[0] must be an object"),
        ({"id": "2", "image": "x.png", "split": 3}, "split must be text"),
        ({"id": "2", "image": "x.png", "meta": []}, "meta must be an object"),
        ({"id": "1", "image": "x.png"}, 'the id "1" was used on line 1'),
    ],
)
def test_mistakes_name_file_and_line(folder: Callable[..., Path], row: object, reason: str) -> None:
    root = folder([{"id": "1", "image": "x.png"}, "", row])
    with pytest.raises(DataError) as caught:
        open_dataset(root)
    assert str(caught.value).startswith(f"{root / 'samples.jsonl'}:3: ")
    assert reason in str(caught.value)


def test_bytes_that_are_not_utf8(folder: Callable[..., Path]) -> None:
    root = folder([])
    (root / "samples.jsonl").write_bytes(b'{"id": "1", "image": "x.png"}\n{"id": "caf\xe9"}\n')
    with pytest.raises(DataError, match=r"samples\.jsonl:2: byte 0xe9 is not UTF-8; save the file as UTF-8"):
        open_dataset(root)


def test_folders_that_are_no_dataset(tmp_path: Path, folder: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match="does not exist"):
        open_dataset(tmp_path / "none")
    with pytest.raises(DataError, match="neither samples.jsonl nor captions.json"):
        open_dataset(tmp_path)
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(DataError, match="is not a dataset"):
        open_dataset(tmp_path / "notes.txt")
    with pytest.raises(DataError, match="no samples"):
        open_dataset(folder([]))
    root = folder(rows(1))
    (root / "captions.json").write_text("{}")
    with pytest.raises(DataError, match="holds both"):
        open_dataset(root)


def test_terms_need_a_vocabulary(folder: Callable[..., Path]) -> None:
    root = folder([ROW], vocabulary=None)
    with pytest.raises(DataError, match=r"vocabulary\.yaml: is missing, but samples have terms"):
        open_dataset(root)
    assert len(open_dataset(folder(rows(1), vocabulary=None)).vocabulary) == 0


def test_fingerprint_sees_annotations_and_vocabulary_not_the_folder(
    folder: Callable[..., Path], tmp_path: Path
) -> None:
    root = folder([ROW])
    first = open_dataset(root).fingerprint
    moved = root.rename(tmp_path / "moved")
    assert open_dataset(moved).fingerprint == first
    (moved / "vocabulary.yaml").write_text("geoboard: {category: thing, aliases: [geo board]}\n")
    second = open_dataset(moved).fingerprint
    with open(moved / "samples.jsonl", "a") as file:
        file.write(json.dumps({"id": "9", "image": "x.png"}))
    assert len({first, second, open_dataset(moved).fingerprint}) == 3


def test_a_file_that_changes_is_noticed(folder: Callable[..., Path]) -> None:
    root = folder(rows(3))
    dataset = open_dataset(root)
    folder([{"id": "another", "image": "x.png"}, *rows(3)])
    with pytest.raises(DataError, match="changed since it was opened"):
        list(dataset)
    (root / "samples.jsonl").unlink()
    with pytest.raises(DataError, match="cannot be read"):
        dataset[0]


def test_pickles_and_works_in_other_processes(folder: Callable[..., Path]) -> None:
    dataset = open_dataset(folder([ROW, *rows(9)])).split("train")
    again = pickle.loads(pickle.dumps(dataset))
    assert list(again) == list(dataset)
    assert again.vocabulary == dataset.vocabulary == read_vocabulary(dataset.root / "vocabulary.yaml")
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
        assert pool.submit(list, dataset).result() == list(dataset)


def test_memory_grows_by_bytes_not_by_rows(folder: Callable[..., Path]) -> None:
    """A row here is about a kilobyte; what stays in memory is its id and some numbers."""
    words = "a geoboard with rubber bands " * 30

    def held(n: int) -> int:
        root = folder([{"id": str(i), "image": "x.png", "references": [words]} for i in range(n)])
        open_dataset(root)
        tracemalloc.start()
        dataset = open_dataset(root)
        size = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert len(dataset) == n
        return size

    small, large = held(500), held(3500)
    assert (large - small) / 3000 < 120
