"""Three sets of COCO captions with the scores that the reference implementation gives them (tests/captions)."""

from __future__ import annotations

import gzip
import json
from functools import cache
from typing import Any

import numpy as np

from capwright.scorers import Item, Scorer
from capwright.scorers.base import Corpus
from capwright.types import NO_IMAGE, Sample
from places import CAPTIONS

SETS = ("fakecap1000", "val2017_nn", "val2017_human4")


@cache
def read(name: str) -> Any:
    """A packed JSON file of tests/captions."""
    return json.loads(gzip.decompress((CAPTIONS / f"{name}.json.gz").read_bytes()))


@cache
def tokenized_items(name: str) -> tuple[Item, ...]:
    """One item an image, in the order of the expected values; text is tokenized by the Java original."""
    tokens = read(f"{name}_tokens")
    ids = [str(image) for image in read(f"{name}_expected")["image_ids"]]
    return tuple(Item(Sample(i, NO_IMAGE, tuple(tokens["gts"][i])), tokens["res"][i][0]) for i in ids)


@cache
def raw_items(name: str) -> tuple[Item, ...]:
    """The same captions as people and models wrote them."""
    references: dict[int, list[tuple[int, str]]] = {}
    source = "fakecap1000" if name == "fakecap1000" else "val2017"
    for row in read(f"{source}_references")["annotations"]:
        references.setdefault(row["image_id"], []).append((row["id"], row["caption"]))
    said = {row["image_id"]: row["caption"] for row in read(f"{name}_results")}
    items = []
    for image in read(f"{name}_expected")["image_ids"]:
        texts = [text for _, text in sorted(references[image])]
        if name == "val2017_human4":
            assert texts.pop() == said[image]  # the last human caption is the candidate
        items.append(Item(Sample(str(image), NO_IMAGE, tuple(texts)), said[image]))
    return tuple(items)


def sample(name: object, *references: str) -> Sample:
    return Sample(str(name), NO_IMAGE, references)


def uneven_items(n: int) -> list[Item]:
    """The first n captions of fakecap1000 with three, four or five references each, in turns."""
    references: dict[int, list[str]] = {}
    for row in read("fakecap1000_references")["annotations"]:
        references.setdefault(row["image_id"], []).append(row["caption"])
    return [
        Item(sample(row["image_id"], *references[row["image_id"]][: 3 + number % 3]), row["caption"])
        for number, row in enumerate(read("fakecap1000_results")[:n])
    ]


def expected(name: str, metric: str) -> tuple[float, np.ndarray]:
    """Score of the set, and of each caption."""
    values = read(f"{name}_expected")
    return values["scores"][metric], np.array(values["per_caption"][metric])


def measure(scorer: Scorer, items: tuple[Item, ...] | list[Item]) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the set [m] and of each caption [N, m]; the context is of the samples of the items."""
    context = scorer.prepare(Corpus([item.sample for item in items]))
    rows = scorer.stats(items, context).rows
    return scorer.finalize(rows.sum(0)), scorer.finalize(rows)


def headline(scorer: Scorer, items: tuple[Item, ...] | list[Item]) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the set [m], and the first score of each caption [N]."""
    total, each = measure(scorer, items)
    return total, each[:, 0]
