"""Samples that show or say the same as an earlier one are left out."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from math import ceil
from pathlib import Path

import numpy as np
from pydantic import Field

from capwright.curation.base import Step, StepDecision
from capwright.curation.questions.duplicates import jaccard, words
from capwright.data.images import load_image
from capwright.data.near_duplicates import PIXELS, ImageComparer, image_hash, near_pairs
from capwright.types import ImageError, Sample

#: How many of the most similar earlier images are looked at.
_NEIGHBORS = 16


class Deduplicate(Step):
    """Of samples that are the same the first one stays.

    Two are the same when their first images are (stored again in another format, size or quality; see
    `data.near_duplicates`), or when the words of their references are, as far as `captions` says. An earlier sample
    counts only if it stays itself. Where an image cannot be read the sample is unknown; its words are still compared.
    """

    name = "deduplicate"
    whole = True
    chunk = None
    images: bool = Field(True, description="compare images")
    captions: float | None = Field(
        None, gt=0, le=1, description="references are the same from this Jaccard index of their words on; null: never"
    )

    def decide(self, samples: Sequence[Sample]) -> list[StepDecision]:
        near, troubles = _near_images(samples) if self.images else ({}, {})
        comparer = ImageComparer()
        bags = [words(" ".join(sample.references if self.captions else ())) for sample in samples]
        frequency = Counter(word for bag in bags for word in bag)
        holders: dict[str, list[int]] = defaultdict(list)  # a rare word -> samples that stay and have it
        decisions: list[StepDecision] = []
        for i, (sample, bag) in enumerate(zip(samples, bags)):
            # Two sets as alike as `same` share one of their first words, when all are sorted alike (prefix filtering).
            same = self.captions or 1.0
            rare = sorted(bag, key=lambda word: (frequency[word], word))[: len(bag) - ceil(same * len(bag) - 1e-9) + 1]
            image = next(
                (j for j in near.get(i, ()) if not decisions[j].drop and comparer.same(sample.image, samples[j].image)),
                None,
            )
            fellows = sorted({j for word in rare for j in holders[word]})
            text = next((j for j in fellows if jaccard(bags[j], bag) >= same), None)
            if image is not None:
                decisions.append(StepDecision(drop="the same image", reason=f"as {samples[image].id}"))
            elif text is not None:
                decisions.append(StepDecision(drop="the same words", reason=f"as {samples[text].id}"))
            else:
                for word in rare:
                    holders[word].append(i)
                trouble = troubles.get(i, "")
                decisions.append(StepDecision("missing_image" if trouble else "ok", trouble))
        return decisions


def _near_images(samples: Sequence[Sample]) -> tuple[dict[int, list[int]], dict[int, str]]:
    """Samples -> earlier ones whose image may be the same, and samples -> why their image cannot be read."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        looks = dict(enumerate(pool.map(_look, (sample.image for sample in samples))))
    hashes = {i: look for i, look in looks.items() if not isinstance(look, str)}
    known = list(hashes)
    near = near_pairs(np.stack([*hashes.values()]), np.arange(len(known)), _NEIGHBORS) if known else ()
    troubles = {i: look for i, look in looks.items() if isinstance(look, str)}
    return {known[i]: [known[j] for j in others] for i, others in near}, troubles


def _look(image: Path) -> np.ndarray | str:
    """The hash of an image, or why there is none."""
    try:
        return image_hash(load_image(image, max_pixels=PIXELS))
    except ImageError as error:
        return str(error)
