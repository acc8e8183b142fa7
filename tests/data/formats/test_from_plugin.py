"""A data format of one's own: datasets, references and captions in it."""

from __future__ import annotations

import pickle

import pytest

from capwright.captioning.image_sources import find_images
from capwright.data import check_dataset, open_dataset, read_predictions, read_references, write_dataset
from capwright.plugins import register
from capwright.types import DataError


@pytest.fixture
def pipes():
    """Files of lines "id | image | split | reference | ..."."""

    @register("format", "pipes")
    def read(path):
        for line in path.read_text(encoding="utf-8").splitlines():
            id, image, split, *references = (part.strip() for part in line.split("|"))
            yield {"id": id, "image": image, "split": split, "references": references}


LINES = ["1 | a.png | train | a red drum", "2 | b.png | val | a drum | a bead"]


@pytest.fixture
def file(tmp_path):
    from PIL import Image

    for number, name in enumerate("ab"):
        Image.new("RGB", (16 + number, 16), (200 * number, 10, 10)).save(tmp_path / f"{name}.png")
    path = tmp_path / "toys.pipes"
    path.write_text("\n".join(LINES))
    return path


def test_a_dataset(pipes, file, tmp_path):
    dataset = open_dataset(file)
    assert (dataset.layout, dataset.root, len(dataset)) == ("pipes", tmp_path, 2)
    assert dataset[1].references == ("a drum", "a bead")
    assert dataset[1].image == tmp_path / "b.png"
    assert open_dataset(file, "val").by_id("2").split == "val"
    assert pickle.loads(pickle.dumps(dataset)).fingerprint == dataset.fingerprint
    copy = open_dataset(write_dataset(dataset, tmp_path / "copy", dataset.vocabulary))
    assert [sample.references for sample in copy] == [sample.references for sample in dataset]
    assert [sample.id for sample in find_images([file], "train")] == ["1"]
    file.write_text("\n".join([LINES[0], LINES[1] + " | new"]))
    assert open_dataset(file).fingerprint != dataset.fingerprint


def test_a_dataset_is_checked(pipes, file):
    found = check_dataset(file)
    assert found.usable
    places = {(problem.file, problem.severity) for problem in found.problems}
    assert places == {("toys.pipes", "warning"), ("vocabulary.yaml", "warning")}, "two images that look alike"
    file.write_text("\n".join([*LINES, LINES[0], "3 | gone.png | val"]))
    found = check_dataset(file)
    errors = {problem.message for problem in found.problems if problem.severity == "error"}
    assert "item 3: the id was used by item 1; ids must be unique" in errors
    assert any("gone.png" in message for message in errors)
    with pytest.raises(DataError, match=r'toys.pipes: item 3: the id "1" was used by item 1; ids must be unique'):
        open_dataset(file)


def test_references_and_captions(pipes, file):
    samples = read_references(file)
    assert [sample.references for sample in samples] == [("a red drum",), ("a drum", "a bead")]
    assert samples[0].image == file.parent / "a.png"

    @register("format", "said")
    def read(path):
        return [dict(zip(("id", "caption"), line.split("\t"))) for line in path.read_text().splitlines()]

    (file.parent / "x.said").write_text("1\ta drum\n2\ta bead\n")
    assert {id: row["caption"] for id, row in read_predictions(file.parent / "x.said").items()} == {
        "1": "a drum",
        "2": "a bead",
    }


def test_what_fails_is_named(file):
    register("format", "pipes")(lambda path: [1 / 0])
    with pytest.raises(DataError, match=r"pipes: the format 'pipes' cannot read it: ZeroDivisionError: .*line \d+"):
        open_dataset(file)
    assert "ZeroDivisionError" in str(check_dataset(file).problems[0])
    register("format", "lists")(lambda path: [[1]])
    (file.parent / "x.lists").write_text("")
    with pytest.raises(DataError, match=r"x.lists: item 1: the format 'lists' must give objects, not list"):
        read_references(file.parent / "x.lists")


def test_built_in_formats_stay(file):
    with pytest.raises(DataError, match="toys.pipes: is not a dataset"):
        open_dataset(file)
    register("format", "csv")(lambda path: [])
    (file.parent / "x.csv").write_text("id,caption\n1,a drum\n")
    with pytest.raises(DataError, match=r"csv: a format with this name exists \(built in\); the one of .* needs"):
        read_predictions(file.parent / "x.csv")
