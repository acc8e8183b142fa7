"""From scenes to files: samples with captions, questions and regions, and whole datasets of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from capwright.data import write_dataset
from capwright.scenes.drawing import draw
from capwright.scenes.language import casual_captions, expert_captions, facts, noun_phrase, questions
from capwright.scenes.lexicon import categories, professional_names, vocabulary
from capwright.scenes.sampling import SPOT_HEIGHTS, SPOT_WIDTHS, Rng, look_alikes, sample_scene
from capwright.scenes.world import PLAIN, PlacedToy, Scene, WorldOptions
from capwright.types import DataError, Region, Sample, Term

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


def to_sample(scene: Scene, image: str | Path, size: int = 96, options: WorldOptions = PLAIN) -> Sample:
    """Everything known about a scene, as a sample whose image is `image`, `size` by `size` pixels.

    References are the expert captions; terms are the professional names in the image; each toy has a region (its box
    is where its spot is drawn). `meta` has `casual` (four casual captions), `category`, `area`, `facts`
    (records of kind, subject, value, sentence), and `seed` and `index`, which make the scene again, together with
    `tail` where toys have one: `sample_scene(seed, index, tail)`. What `options` have people leave out, they leave out
    of train scenes only.
    """
    train = split_of(scene.index) == "train"
    style = options if train else WorldOptions(variety=options.variety)
    silent = train and options.experts is not None and _place_in_train(scene.index) >= options.experts
    return Sample(
        id=scene_id(scene.index),
        image=Path(image),
        references=() if silent else tuple(expert_captions(scene, style)),
        terms=_labels(scene, options.label_noise if train else 0.0),
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
            **({"tail": options.tail} if options.tail else {}),
        },
    )


def _place_in_train(index: int) -> int:
    """How many train scenes come before scene `index`."""
    return (
        index - 2 * (min(index, HELD_OUT) // 10) - sum(split_of(i) != "train" for i in range(index // 10 * 10, index))
    )


def _labels(scene: Scene, noise: float) -> tuple[Term, ...]:
    """The professional names in the image, each wrong with the probability `noise`."""
    words, rng = vocabulary(), Rng("labels", scene.seed, scene.index)
    here = [toy.name for toy in scene.toys]
    labels: list[str] = []
    for name in here:
        wrong, missing = rng.chance(noise), rng.chance(0.5)
        kin = (look_alikes(name), categories()[words[name].category], professional_names())
        taken = rng.pick(next(free for names in kin if (free := [n for n in names if n not in here])))
        label = name if not wrong else None if missing else taken
        if label is not None and label not in labels:
            labels.append(label)
    return tuple(words[label] for label in labels)


def build(
    n: int,
    seed: int,
    out: str | Path,
    layout: str = "jsonl",
    size: int = 96,
    processes: int = 1,
    progress: Callable[[int, int], None] | None = None,
    options: WorldOptions = PLAIN,
) -> Path:
    """Write scenes 0 to n - 1 of the world `seed` to the new folder `out`, and return it.

    The same n, seed, layout, size and options give the same bytes, whatever the number of processes.

    Args:
        layout: "jsonl" or "ecac".
        size: pixels a side of the images.
        processes: how many draw at the same time. More than one are started afresh, so a script that asks for them
            must be a file with its work under `if __name__ == "__main__":`.
        progress: called with (scenes done, n).
        options: how frequent toys are, and what people say and label.

    Raises:
        DataError: n or processes is not positive, `out` is not empty or cannot be written, or the layout is unknown.
    """
    out = Path(os.path.abspath(out))
    if n < 1:
        raise DataError(f"cannot build {n} scenes; ask for at least 1")
    if processes < 1:
        raise DataError(f"cannot draw in {processes} processes; ask for at least 1")
    images = out / "images"
    existed = out.exists()
    try:
        if existed and (not out.is_dir() or any(out.iterdir())):
            raise DataError(f"{out}: already exists and is not empty; remove it or choose another folder")
        images.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {error.strerror}; choose another folder") from error
    work = partial(_draw, seed, images=images, size=size, options=options)
    try:
        write_dataset(_samples(n, work, processes, progress), out, vocabulary(), layout=layout)
    except BaseException:  # leave the place as it was, so that the same command can be run again
        shutil.rmtree(images if existed else out, ignore_errors=True)
        raise
    return out


def _samples(
    n: int, work: Callable[[int], Sample], processes: int, progress: Callable[[int, int], None] | None
) -> Iterator[Sample]:
    """The samples in order, each once its image is on the disk."""
    with ExitStack() as stack:
        made: Iterable[Sample] = map(work, range(n))
        if processes > 1:
            # Fresh interpreters: forking a process that runs threads (a trainer, a progress bar) can hang.
            pool = stack.enter_context(ProcessPoolExecutor(processes, mp_context=get_context("spawn")))
            made = pool.map(work, range(n), chunksize=_CHUNK)
        for done, sample in enumerate(made, start=1):
            yield sample
            if progress is not None:
                progress(done, n)


def _draw(seed: int, index: int, images: Path, size: int, options: WorldOptions) -> Sample:
    """Draw one scene to its file; module level, so that worker processes can find it."""
    scene = sample_scene(seed, index, options.tail)
    path = images / f"{scene_id(index)}.png"
    image = draw(scene, size)
    try:
        image.save(path, format="PNG")
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from error
    return to_sample(scene, path, size, options)


def _box(toy: PlacedToy, size: int) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) in pixels of what is drawn of a toy."""
    width, height = SPOT_WIDTHS[toy.count] * toy.size / 2, SPOT_HEIGHTS[toy.count] * toy.size / 2
    edges = (toy.x - width, toy.y - height, toy.x + width, toy.y + height)
    left, top, right, bottom = (round(size * min(max(edge, 0.0), 1.0), 1) for edge in edges)
    return left, top, right, bottom
