"""From scenes to files: samples with captions, questions and regions, and whole datasets of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from capwright.data import write_dataset
from capwright.scenes.drawing import draw
from capwright.scenes.language import casual_captions, expert_captions, facts, noun_phrase, questions
from capwright.scenes.lexicon import vocabulary
from capwright.scenes.sampling import SPOT_HEIGHTS, SPOT_WIDTHS, sample_scene
from capwright.scenes.world import PlacedToy, Scene
from capwright.types import DataError, Region, Sample

#: Of the first 5,000 scenes every tenth is for validation and every tenth for testing; all later ones are for training.
HELD_OUT = 5000
#: How many scenes a worker draws before it reports.
_CHUNK = 16


def scene_id(index: int) -> str:
    """The id of a scene's sample: "scene-00001234"."""
    return f"scene-{index:08d}"


def split_of(index: int) -> str:
    """The split of scene `index`, whatever the size of the dataset: indices that end in 4 are "val", in 9 "test".

    That is 80/10/10 up to 5,000 scenes. From there on all are "train", so val and test hold at most 500 each, and
    making a dataset longer never moves a sample.
    """
    return {4: "val", 9: "test"}.get(index % 10, "train") if index < HELD_OUT else "train"


def to_sample(scene: Scene, image: str | Path, size: int = 96) -> Sample:
    """Everything known about a scene, as a sample whose picture is `image`, `size` by `size` pixels.

    References are the expert captions; terms are the professional names in the picture; each toy has a region (its box
    is where its spot is drawn). `meta` has `casual` (four casual captions), `category`, `area`, `facts`
    (records of kind, subject, value, sentence), and `seed` and `index`, which make the scene again.
    """
    words = vocabulary()
    return Sample(
        id=scene_id(scene.index),
        image=Path(image),
        references=tuple(expert_captions(scene)),
        terms=tuple(words[toy.name] for toy in scene.toys),
        questions=questions(scene),
        regions=tuple(Region(_box(toy, size), toy.name, noun_phrase(toy)) for toy in scene.toys),
        split=split_of(scene.index),
        meta={
            "casual": casual_captions(scene),
            "category": scene.category,
            "area": scene.area,
            "facts": [asdict(fact) for fact in facts(scene)],
            "seed": scene.seed,
            "index": scene.index,
        },
    )


def build(
    n: int,
    seed: int,
    out: str | Path,
    layout: str = "jsonl",
    size: int = 96,
    processes: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write scenes 0 to n - 1 of the world `seed` to the new folder `out`, and return it.

    The same n, seed, layout and size give the same bytes, whatever the number of processes.

    Args:
        layout: "jsonl" or "ecac".
        size: pixels a side of the pictures.
        processes: how many draw at the same time. More than one are started afresh, so a script that asks for them
            must be a file with its work under `if __name__ == "__main__":`.
        progress: called with (scenes done, n).

    Raises:
        DataError: n or processes is not positive, `out` is not empty or can not be written, or the layout is unknown.
    """
    out = Path(os.path.abspath(out))
    if n < 1:
        raise DataError(f"can not build {n} scenes; ask for at least 1")
    if processes < 1:
        raise DataError(f"can not draw in {processes} processes; ask for at least 1")
    images = out / "images"
    existed = out.exists()
    try:
        if existed and (not out.is_dir() or any(out.iterdir())):
            raise DataError(f"{out}: already exists and is not empty; remove it or choose another folder")
        images.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{out}: can not be written: {error.strerror}; choose another folder") from error
    finished = False
    try:
        write_dataset(_samples(n, seed, images, size, processes, progress), out, vocabulary(), layout=layout)
        finished = True
    finally:
        if not finished:  # leave the place as it was, so that the same command can be run again
            shutil.rmtree(images if existed else out, ignore_errors=True)
    return out


def _samples(
    n: int, seed: int, images: Path, size: int, processes: int, progress: Callable[[int, int], None] | None
) -> Iterator[Sample]:
    """The samples in order, each once its picture is on the disk."""
    work = partial(_draw, seed, images=images, size=size)
    if processes == 1:
        for index in range(n):
            yield work(index)
            if progress is not None:
                progress(index + 1, n)
        return
    # Fresh interpreters: forking a process that runs threads (a trainer, a progress bar) can hang.
    pool = ProcessPoolExecutor(max_workers=processes, mp_context=get_context("spawn"))
    with pool:
        for done, sample in enumerate(pool.map(work, range(n), chunksize=_CHUNK), start=1):
            yield sample
            if progress is not None:
                progress(done, n)


def _draw(seed: int, index: int, images: Path, size: int) -> Sample:
    """Draw one scene to its file; module level, so that worker processes can find it."""
    scene = sample_scene(seed, index)
    path = images / f"{scene_id(index)}.png"
    picture = draw(scene, size)
    try:
        picture.save(path, format="PNG")
    except OSError as error:
        raise DataError(f"{path}: can not be written: {error.strerror or error}") from error
    return to_sample(scene, path, size)


def _box(toy: PlacedToy, size: int) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) in pixels of what is drawn of a toy."""
    width, height = SPOT_WIDTHS[toy.count] * toy.size / 2, SPOT_HEIGHTS[toy.count] * toy.size / 2
    edges = (toy.x - width, toy.y - height, toy.x + width, toy.y + height)
    left, top, right, bottom = (round(size * min(max(edge, 0.0), 1.0), 1) for edge in edges)
    return left, top, right, bottom
