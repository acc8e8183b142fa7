"""Run scorers over captions, chunk by chunk: sums of rows for each image, and what was seen on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capwright.evaluation.results import MISSING
from capwright.judges.protocols import reason_of
from capwright.scorers import SCORED, Context, Item, Scorer, Stats

#: Items that scorers measure at a time; fewer when it takes long.
_CHUNK, _SLOW_CHUNK = 2048, 256

#: For each image what scorers saw in it, by name of the scorer.
EvidenceRows = list[dict[str, dict[str, Any] | None]]


def measure(
    rulers: Sequence[tuple[Scorer, Context]],
    items: Sequence[Item],
    image_of: NDArray[np.int64],
    stated: Sequence[str],
    progress: Callable[[int, int], None] | None,
) -> tuple[list[ScorerSums], EvidenceRows]:
    """Measure items [N] of images [N] with every scorer; one Tally a scorer, and evidence [images].

    `stated` is the status of each image, or "missing_caption". `progress` is told (done, total) items, counted once a
    scorer.
    """
    evidence: EvidenceRows = [{} for _ in stated]
    tallies = [ScorerSums(scorer, context, len(stated)) for scorer, context in rulers]
    total, done = len(items) * len(tallies), 0
    for tally, start, stop in _turns(tallies, image_of):
        tally.add(items[start:stop], image_of[start:stop], stated, evidence)
        done += stop - start
        if progress is not None:
            progress(done, total)
    return tallies, evidence


def _turns(tallies: Sequence[ScorerSums], image_of: NDArray[np.int64]) -> Iterator[tuple[ScorerSums, int, int]]:
    """Who measures which items next.

    All scorers take a chunk before any takes the next, because what one finds out about a chunk (its tokens, its
    n-grams) helps the next one. Slow scorers take it in smaller parts, for the sake of progress; a set scorer takes all
    items at once. The captions of an image are never parted.
    """
    for start, stop in _chunks(image_of, 0, len(image_of), _CHUNK):
        for tally in tallies:
            if tally.scorer.spec.unit == "set":
                continue
            size = _CHUNK if tally.scorer.spec.cost == "free" else _SLOW_CHUNK
            for first, last in _chunks(image_of, start, stop, size):
                yield tally, first, last
    for tally in tallies:
        if tally.scorer.spec.unit == "set":
            yield tally, 0, len(image_of)


def _chunks(image_of: NDArray[np.int64], start: int, end: int, size: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of about `size` items each."""
    while start < end:
        stop = min(start + size, end)
        while stop < end and image_of[stop] == image_of[stop - 1]:
            stop += 1
        yield start, stop
        start = stop


class ScorerSums:
    """What a scorer has found so far.

    Attributes:
        scorer, context: what measures.
        known: bool [images], False where anything about the image is unknown.
        met: counts of unknown statuses.
        why: place of an image -> why nothing is known of it, where it is known.
    """

    def __init__(self, scorer: Scorer, context: Context, images: int) -> None:
        self.scorer = scorer
        self.context = context
        self.known = np.ones(images, dtype=bool)
        self.met: Counter[str] = Counter()
        self.why: dict[int, str] = {}
        self._sums: NDArray[np.float64] | None = None

    @property
    def rows(self) -> NDArray[np.float64]:
        """Float64 [images, k]; zero where unknown."""
        assert self._sums is not None
        return np.where(self.known[:, None], self._sums, 0.0)

    def add(
        self,
        items: Sequence[Item],
        image_of: NDArray[np.int64],
        stated: Sequence[str],
        evidence: EvidenceRows,
    ) -> None:
        """Measure items of images [items]; what was seen is written into `evidence` of their images."""
        name = self.scorer.spec.name
        stats = self.scorer.stats(items, self.context)
        rows, rows_known = stats.by_item(len(items))
        if self._sums is None:
            self._sums = np.zeros((len(self.known), rows.shape[1]))
        np.add.at(self._sums, image_of, rows)
        self.known[image_of[_unmeasured(stats, rows_known, self.scorer)]] = False
        several = len(stats.owner) != len(items) or len(np.unique(image_of)) != len(items)
        for image, status, found in zip(image_of[stats.owner].tolist(), stats.status, stats.evidence):
            if status not in SCORED:
                self.met[MISSING if stated[image] == MISSING else str(status)] += 1
                if reason := reason_of(status):
                    self.why.setdefault(image, reason)
            held = evidence[image]
            if several:
                gathered = held.setdefault(name, {"rows": []})
                if gathered is not None:
                    gathered["rows"].append(found)
            else:
                held[name] = found


def _unmeasured(stats: Stats, known: NDArray[np.bool_], scorer: Scorer) -> NDArray[np.bool_]:
    """Items that make their image unknown. One that has no row at all does too, unless rows are for whole images."""
    if "several captions" not in scorer.spec.needs:
        return ~known
    has_row = np.zeros(len(known), dtype=bool)
    has_row[stats.owner] = True
    return has_row & ~known
