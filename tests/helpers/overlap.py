"""A tiny scorer for tests of what is made of scores: the share of a caption's words that a reference has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from capwright.scorers import SCORED, Context, Corpus, Item, ScorerSpec, Stats
from capwright.scorers.base import item_status, ratio
from capwright.text.digest import fingerprint
from capwright.text.normalize import tokens


class Overlap:
    """Rows (words in a reference, words); one output named after the scorer. `high` scales it."""

    def __init__(self, name: str = "overlap", better: bool | None = True, high: float = 1.0) -> None:
        self.spec = ScorerSpec(name, "1", (name,), {name: (0.0, high)}, higher_is_better=better)

    def prepare(self, corpus: Corpus) -> Context:
        return Context(self.spec.name, fingerprint(self.spec.name), self.spec.outputs)

    def stats(self, items: Sequence[Item], context: Context) -> Stats:
        rows = np.zeros((len(items), 2))
        status = tuple(item_status(item) for item in items)
        for row, item, state in zip(rows, items, status):
            if state in SCORED:
                known = {word for reference in item.sample.references for word in tokens(reference)}
                words = tokens(item.caption)
                row[:] = sum(word in known for word in words), len(words)
        return Stats(rows, np.arange(len(items)), status, (None,) * len(items))

    def finalize(self, summed: NDArray[np.float64]) -> NDArray[np.float64]:
        summed = np.asarray(summed, dtype=np.float64)
        return self.spec.ranges[self.spec.name][1] * ratio(summed[..., :1], summed[..., 1:])

    def signature(self, context: Context) -> str:
        return f"{self.spec.name}|v:1"
