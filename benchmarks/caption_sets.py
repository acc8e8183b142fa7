"""The caption sets of tests/captions, ways to change a caption, and scorers as they are used on them."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from capwright.scorers import Corpus, Item, get_scorer
from capwright.types import NO_IMAGE, Sample, Vocabulary

CAPTIONS = Path(__file__).parent.parent / "tests" / "captions"

Texts = Sequence[str]
Row = dict[str, Any]


@cache
def read(name: str) -> Any:
    """A packed JSON file of tests/captions."""
    return json.loads(gzip.decompress((CAPTIONS / f"{name}.json.gz").read_bytes()))


@cache
def human(source: str) -> dict[int, list[str]]:
    """All captions that people wrote of an image, by their numbers; images in the order of the file."""
    notes = read(f"{source}_references")["annotations"]
    said: dict[int, list[str]] = {note["image_id"]: [] for note in notes}
    for note in sorted(notes, key=lambda note: note["id"]):
        said[note["image_id"]].append(note["caption"])
    return said


def images(name: str, count: int) -> tuple[list[Sample], list[str]]:
    """Images with their references, and the captions of a set. In "val2017_human4" they are the last references."""
    said = {row["image_id"]: row["caption"] for row in read(f"{name}_results")}
    notes = human("fakecap1000" if name == "fakecap1000" else "val2017")
    last = -1 if name == "val2017_human4" else None
    ids = read(f"{name}_expected")["image_ids"][:count]
    return [Sample(str(i), NO_IMAGE, tuple(notes[i][:last])) for i in ids], [said[i] for i in ids]


def one_human(count: int) -> list[str]:
    """One human caption of each image of COCO val2017."""
    return images("val2017_human4", count)[1]


def groups(count: int) -> list[Sample]:
    """Images of COCO val2017 with all their human captions as references."""
    return [Sample(str(image), NO_IMAGE, tuple(texts)) for image, texts in list(human("val2017").items())[:count]]


@cache
def read_long() -> list[Row]:
    """The rows of ImageInWords: long descriptions by people, of some images a model's, too, and which is better."""
    lines = gzip.decompress((CAPTIONS / "iiw400.jsonl.gz").read_bytes()).decode().splitlines()
    return [json.loads(line) for line in lines]


def long_captions(count: int) -> list[str]:
    """Long descriptions by people."""
    return [row["IIW"] for row in read_long()[:count]]


class Ruler:
    """A scorer with what it learned from samples."""

    def __init__(self, name: str, samples: Sequence[Sample], vocabulary: Vocabulary | None = None, **options: Any):
        self.scorer = get_scorer(name, **options)
        self.context = self.scorer.prepare(Corpus(samples, vocabulary or Vocabulary({})))

    def rows(self, samples: Sequence[Sample], texts: Texts) -> np.ndarray:
        items = [Item(sample, text) for sample, text in zip(samples, texts, strict=True)]
        return self.scorer.stats(items, self.context).rows

    def __call__(self, samples: Sequence[Sample], texts: Texts) -> dict[str, float]:
        """The scores of all captions together, by output."""
        return dict(zip(self.context.outputs, self.scorer.finalize(self.rows(samples, texts).sum(0)).tolist()))

    def each(self, samples: Sequence[Sample], texts: Texts) -> np.ndarray:
        """The headline of each caption."""
        column = self.context.outputs.index(self.scorer.spec.headline)
        return self.scorer.finalize(self.rows(samples, texts))[:, column]


def without_references(name: str, texts: Texts, **options: Any) -> dict[str, float]:
    """The scores of captions by a scorer that looks at nothing else."""
    samples = [Sample(str(i), NO_IMAGE) for i in range(len(texts))]
    return Ruler(name, samples, **options)(samples, texts)


def rows_of(data: str, sets: Mapping[str, Texts], score: Callable[[Texts], Mapping[str, float]]) -> list[Row]:
    """One row a way to write captions."""
    return [{"data": data, "captions": way, "texts": len(texts), **score(texts)} for way, texts in sets.items()]


def shuffled(text: str, seed: int = 0) -> str:
    words = text.split()
    random.Random(f"{seed}:{text}").shuffle(words)
    return " ".join(words)


def half(text: str) -> str:
    words = text.split()
    return " ".join(words[: len(words) // 2])


def of_others(texts: Texts, steps: int = 1) -> list[str]:
    """For each image the caption of another one."""
    return [*texts[steps:], *texts[:steps]]


def random_words(texts: Texts, seed: int = 0) -> list[str]:
    """As many captions of ten words, all words of these captions equally likely."""
    words = sorted({word.strip(".,!?\"'").lower() for text in texts for word in text.split()} - {""})
    rng = random.Random(seed)
    return [" ".join(rng.choices(words, k=10)) for _ in texts]


def made_up(rng: random.Random) -> str:
    """A word that nobody knows."""
    return "".join(rng.choices("aeioubdfgklmnprstvz", k=10))
