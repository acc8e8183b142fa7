from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from capwright.data import open_dataset, write_dataset
from capwright.data import writing as writing_module
from capwright.types import LEVELS, DataError, ImageError, Question, Region, Sample, Term, Vocabulary

BOARD = Term("geoboard", ("geo board",), category="board", tier="never")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NAME = TEXT.filter(lambda text: bool(text.strip()))
JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False), TEXT
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(TEXT, inner, max_size=2)),
    max_leaves=4,
)
COORDINATE = st.floats(-1e6, 1e6)
SAMPLES = st.builds(
    Sample,
    id=NAME,
    image=st.sampled_from([Path("/images/a.png"), Path("/images/b/é ü.png")]),
    references=st.lists(TEXT, max_size=3).map(tuple),
    terms=st.lists(st.sampled_from([replace(BOARD, level=level) for level in LEVELS]), max_size=2).map(tuple),
    questions=st.lists(
        st.builds(Question, text=NAME, options=st.lists(NAME, max_size=2).map(tuple), answer=TEXT, kind=TEXT),
        max_size=2,
    ).map(tuple),
    regions=st.lists(st.builds(Region, box=st.tuples(*[COORDINATE] * 4), label=TEXT, caption=TEXT), max_size=2).map(
        tuple
    ),
    split=st.one_of(st.sampled_from(["train", "val", "../val", ".hidden", "a b%2F", "unassigned"]), NAME),
    meta=st.dictionaries(TEXT, JSON, max_size=2),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(samples=st.lists(SAMPLES, min_size=1, max_size=4, unique_by=lambda sample: sample.id))
def test_jsonl_to_ecac_to_jsonl_loses_nothing(tmp_path_factory: pytest.TempPathFactory, samples: list[Sample]) -> None:
    base = tmp_path_factory.mktemp("round")
    vocabulary = Vocabulary({BOARD.name: BOARD})
    first = open_dataset(write_dataset(samples, base / "1", vocabulary, images="keep"))
    second = open_dataset(write_dataset(first, base / "2", layout="ecac", images="keep"))
    third = open_dataset(write_dataset(second, base / "3", images="keep"))
    assert list(first) == samples
    assert list(second) == samples
    assert (base / "1/samples.jsonl").read_bytes() == (base / "3/samples.jsonl").read_bytes()
    assert first.vocabulary == second.vocabulary == third.vocabulary == vocabulary
    assert first.fingerprint == third.fingerprint
    for sample in samples:
        assert second.by_id(sample.id) == sample
    for name, count in first.splits.items():
        assert len(second.split(name)) == count


@pytest.fixture
def samples(tmp_path: Path, painter: Callable[..., Path]) -> list[Sample]:
    return [
        Sample(
            f"{i}",
            painter(tmp_path / "source" / f"{i}.png", i),
            ("A geoboard.",),
            (BOARD,),
            split=("train", "val")[i % 2],
        )
        for i in range(4)
    ]


@pytest.mark.parametrize("layout", ["jsonl", "ecac"])
def test_images_are_copied(tmp_path: Path, samples: list[Sample], layout: str) -> None:
    root = write_dataset(iter(samples), tmp_path / "deep" / "out", layout=layout)
    dataset = open_dataset(root)
    assert (dataset.layout, dataset.splits) == (layout, {"train": 2, "val": 2})
    for sample, source in zip(dataset, samples, strict=True):
        assert sample.image == root / "images" / source.image.name
        assert sample.image.read_bytes() == source.image.read_bytes()
    assert dataset.vocabulary == {"geoboard": BOARD}
    leftovers = [path for path in root.rglob("*") if path.name.startswith(".") or path.suffix == ".partial"]
    assert leftovers == []


def test_images_with_one_name(tmp_path: Path, painter: Callable[..., Path]) -> None:
    paths = [painter(tmp_path / folder / "x.png", seed) for folder, seed in (("a", 1), ("b", 2), ("c", 1), ("d", 2))]
    dataset = open_dataset(write_dataset([Sample(str(i), path) for i, path in enumerate(paths)], tmp_path / "out"))
    assert [sample.image.read_bytes() for sample in dataset] == [path.read_bytes() for path in paths]
    assert dataset[0].image == dataset[2].image == tmp_path / "out/images/x.png"
    assert dataset[1].image == dataset[3].image


def test_several_images_a_sample(tmp_path: Path, painter: Callable[..., Path]) -> None:
    """All are copied, and a second copy is the same to the byte; the ecac layout says that it cannot hold them."""
    front, back, other = (painter(tmp_path / name / "x.png", seed) for seed, name in enumerate(("a", "b", "c")))
    first = open_dataset(
        write_dataset([Sample("1", front, more_images=(back, other)), Sample("2", back)], tmp_path / "1")
    )
    assert [path.read_bytes() for path in first[0].images] == [path.read_bytes() for path in (front, back, other)]
    assert all(path.parent == tmp_path / "1" / "images" for path in first[0].images)
    assert first[1].image == first[0].images[1]
    second = open_dataset(write_dataset(first, tmp_path / "2"))
    assert second.fingerprint == first.fingerprint
    with pytest.raises(DataError, match='sample "1": has 3 images, and the ecac layout holds one; choose layout jsonl'):
        write_dataset(first, tmp_path / "3", layout="ecac")
    assert not (tmp_path / "3").exists()
    with pytest.raises(ImageError, match=r'none\.png: does not exist \(sample "1"\)'):
        write_dataset([Sample("1", front, more_images=(tmp_path / "none.png",))], tmp_path / "3")


def test_images_in_place_and_kept(tmp_path: Path, painter: Callable[..., Path]) -> None:
    out = tmp_path / "out"
    inside, outside = painter(out / "images/sub/a.png", 1), painter(tmp_path / "b.png", 2)
    write_dataset([Sample("a", inside), Sample("b", outside)], out, images="keep")
    text = (out / "samples.jsonl").read_text()
    assert '"image": "images/sub/a.png"' in text
    assert f'"image": "{outside}"' in text
    write_dataset([Sample("a", inside), Sample("b", outside)], out, overwrite=True)
    assert '"image": "images/b.png"' in (out / "samples.jsonl").read_text()
    assert inside.exists()


def test_images_in_the_root_of_an_ecac_folder(tmp_path: Path, painter: Callable[..., Path]) -> None:
    image = painter(tmp_path / "out/a.png", 1)
    dataset = open_dataset(write_dataset([Sample("a", image)], tmp_path / "out", layout="ecac"))
    assert dataset[0].image == image


def test_there_is_a_dataset_already(tmp_path: Path, samples: list[Sample]) -> None:
    out = write_dataset(samples, tmp_path / "out", layout="ecac")
    with pytest.raises(DataError, match="holds a dataset already"):
        write_dataset(samples, out, layout="ecac")
    with pytest.raises(DataError, match="in the ecac layout"):
        write_dataset(samples, out, overwrite=True)
    write_dataset((replace(s, split="all") for s in open_dataset(out)), out, layout="ecac", overwrite=True)
    assert open_dataset(out).splits == {"all": 4}


def failing(samples: list[Sample], error: BaseException) -> Iterator[Sample]:
    yield from samples
    raise error


@pytest.mark.parametrize("layout", ["jsonl", "ecac"])
@pytest.mark.parametrize("exists", [False, True])
def test_nothing_is_left_after_a_failure(tmp_path: Path, samples: list[Sample], layout: str, exists: bool) -> None:
    out = tmp_path / "new" / "out"
    if exists:
        out.mkdir(parents=True)
        (out / "notes.txt").write_text("mine")
    for error in (RuntimeError("stop"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            write_dataset(failing(samples, error), out, layout=layout)
        assert sorted(p.name for p in tmp_path.rglob("*") if "source" not in p.parts) == (
            ["new", "notes.txt", "out"] if exists else []
        )


@pytest.mark.parametrize("layout", ["jsonl", "ecac"])
def test_full_disk(tmp_path: Path, samples: list[Sample], layout: str) -> None:
    """A limit on the size of files makes real writes fail half way."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    long = [replace(sample, references=("word " * 100_000,)) for sample in samples]
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with pytest.raises(DataError, match=r"cannot be written: the disk \(or your quota\) is full"):
            write_dataset(long, tmp_path / "out", layout=layout)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not (tmp_path / "out").exists()


def test_full_disk_while_copying_an_image(tmp_path: Path, samples: list[Sample]) -> None:
    big = tmp_path / "big.bmp"
    Image.new("RGB", (300, 300)).save(big)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(DataError, match=r"out/images/big\.bmp: cannot be written: the disk"):
            write_dataset([*samples, Sample("big", big)], tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not (tmp_path / "out").exists()


def test_no_permission_and_bad_places(tmp_path: Path, samples: list[Sample], monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        write_dataset(samples, tmp_path / "file" / "out")
    with pytest.raises(DataError, match="cannot be written"):
        write_dataset(samples, tmp_path / "file")

    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(DataError, match=r"samples\.jsonl|vocabulary\.yaml"):
        write_dataset(samples, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    monkeypatch.undo()
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(DataError, match="no permission; change its permissions or choose another folder"):
        write_dataset(samples, tmp_path / "out")


def test_samples_that_can_not_be_written(tmp_path: Path, samples: list[Sample]) -> None:
    out = tmp_path / "out"

    def refused(what: list[Sample], reason: str, vocabulary: Vocabulary | None = None, **options: str) -> None:
        with pytest.raises(DataError, match=reason):
            write_dataset(what, out, vocabulary, **options)  # type: ignore[arg-type]
        assert not out.exists()

    one = samples[0]
    refused([], "there are no samples to write")
    refused([one, one], 'sample "0": the id was used before')
    refused([replace(one, id=" ")], "must not be empty")
    refused([replace(one, split="")], "must not be empty")
    refused(
        [one], r'"geoboard" is not in the vocabulary \(did you mean "geoboards"\?\)', Vocabulary({"geoboards": BOARD})
    )
    refused([one, replace(samples[1], terms=(replace(BOARD, tier="rare"),))], "described differently")
    refused([replace(one, meta={"a": float("nan")})], 'sample "0": cannot be stored as JSON')
    refused([replace(one, meta={"a": object()})], "cannot be stored as JSON")
    refused([replace(one, references=("\ud800",))], "surrogate")
    refused([replace(one, image=tmp_path / "none.png")], r"none\.png: does not exist \(sample \"0\"\)")
    refused([replace(one, image=tmp_path)], "is a folder")
    refused([one], r'layout "json" is not known \(did you mean "jsonl"\?\)', layout="json")
    refused([one], 'images must be "copy" or "keep"', images="link")
    with pytest.raises(ImageError):
        write_dataset([replace(one, image=tmp_path / "none.png")], out)


def test_an_image_that_can_not_be_read(tmp_path: Path, samples: list[Sample], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(writing_module, "open", refuse, raising=False)
    with pytest.raises(ImageError, match=r'0\.png: cannot be read \(sample "0"\): no permission'):
        write_dataset(samples, tmp_path / "out")
