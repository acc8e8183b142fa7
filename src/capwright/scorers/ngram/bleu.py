"""BLEU-1 to BLEU-4 (Papineni et al., ACL 2002, P02-1040) as COCO captions are scored with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capwright.arrays import ranges
from capwright.scorers._words import ReferenceContext, ReferenceScorer
from capwright.scorers.base import Context, Item, ScorerSpec, Stats, ratio
from capwright.scorers.ngram._ngrams import Batch, gather, levels, write_ngram

_ORDERS = np.arange(1, 5)
#: The reference implementation adds these to a numerator and to a denominator, and so do we, to the last digit.
_TINY, _SMALL = 1e-15, 1e-9


class BLEU(ReferenceScorer[ReferenceContext]):
    """The scorer `bleu`: outputs bleu1, bleu2, bleu3, bleu4 (headline), each from 0 to 1.

    Rows are (correct n-grams for n = 1..4, n-grams for n = 1..4, words, words of the closest reference, captions).
    BLEU of a corpus is the formula on the sum of the rows, not the mean over captions. BLEU-4 of one caption is almost
    always nearly 0, because one order without a match is enough; as a reward take "smooth", which `shape` computes.

    Args:
        tokenizer: a name that `tokenizers.get_tokenizer` knows.
    """

    spec = ScorerSpec(
        name="bleu",
        outputs=("bleu1", "bleu2", "bleu3", "bleu4"),
        needs={"references"},
        rewards=("smooth",),
        main="bleu4",
        about="n-grams shared with references, as the COCO tools count them",
        source="P02-1040",
        titles={f"bleu{n}": f"BLEU-{n}" for n in range(1, 5)},
    )

    def stats(self, items: Sequence[Item], context: Context) -> Stats:
        """One row an item; all zero, which `finalize` makes NaN, where the sample has no references."""
        batch = gather(items, self._cut)
        rows = np.zeros((len(items), 11))
        captions = np.flatnonzero(batch.item >= 0)
        item = batch.item[captions]
        words = batch.lengths[captions]
        for level in levels(batch, 4):
            clipped = np.minimum(level.count[level.caption], level.count[level.reference])
            best, of = _largest(clipped, level.caption)
            correct = np.bincount(level.text[of], weights=best, minlength=len(batch.item))
            rows[item, level.n - 1] = correct[captions]
            rows[item, 3 + level.n] = np.maximum(0, words - level.n + 1)
        rows[item, 8] = words
        rows[item, 9] = _closest_reference(batch, captions)
        rows[item, 10] = 1
        return Stats.of(rows, batch.status)

    def finalize(self, summed: NDArray[np.float64]) -> NDArray[np.float64]:
        """[..., 11] -> [..., 4]: bleu1, bleu2, bleu3, bleu4; NaN without captions."""
        summed = np.asarray(summed, dtype=np.float64)
        correct, guess, words, reference, captions = _columns(summed)
        logs = np.cumsum(np.log((correct + _TINY) / (guess + _SMALL)), axis=-1) / _ORDERS
        shortness = (words + _TINY) / (reference + _SMALL)
        penalty = np.where(shortness < 1, 1 - 1 / shortness, 0.0)
        return np.where(captions[..., None] > 0, np.exp(logs + penalty[..., None]), np.nan)

    def shape(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """The reward "smooth" [..., 1] of rows [..., 11]: BLEU-4 of one caption, smoothed, in [0, 1].

        One is added to both counts of n = 2, 3, 4 (Lin and Och, COLING 2004, C04-1072), so that a caption of few words
        and one without a matching 4-gram still earn something. 0 without a matching word, NaN without references.
        """
        correct, guess, words, reference, captions = _columns(np.asarray(rows, dtype=np.float64))
        one = np.array([0.0, 1.0, 1.0, 1.0])
        precision = np.nan_to_num(ratio(correct + one, guess + one))
        said = np.maximum(words, 1.0)
        penalty = np.exp(np.minimum(0.0, 1 - reference / said))
        smooth = np.where(words > 0, precision.prod(axis=-1) ** 0.25 * penalty, 0.0)
        return np.where(captions > 0, smooth, np.nan)[..., None]

    def fields(self, context: ReferenceContext) -> Mapping[str, object]:
        """`bleu|n:4|tok:ptb-py.1|ws:collapse|refs:5..7|v:1`."""
        return dict(n=4, **super().fields(context))

    def explain(self, items: Sequence[Item], context: Context) -> list[dict[str, Any] | None]:
        """For each caption {"orders": [{"n", "matched": [n-gram, ...], "unmatched": [n-gram, ...]}, ...]}, n = 1..4.

        An n-gram is listed once, with as many matches as count ("a", 2 of 3: once in each list).
        None where there is nothing to compare.
        """
        batch = gather(items, self._cut)
        found: list[dict[str, Any] | None] = [None] * len(items)
        for index in batch.item[batch.item >= 0].tolist():
            found[index] = {"orders": []}
        for level in levels(batch, 4):
            orders: dict[int, dict[str, Any]] = {}
            for index in batch.item[batch.item >= 0].tolist():
                orders[index] = {"n": level.n, "matched": [], "unmatched": []}
                found[index]["orders"].append(orders[index])
            best, of = _largest(np.minimum(level.count[level.caption], level.count[level.reference]), level.caption)
            matched = np.zeros(len(level.gram), dtype=np.int64)
            matched[of] = best
            runs = np.flatnonzero(batch.item[level.text] >= 0)
            for run in runs[np.argsort(level.start[level.gram[runs]], kind="stable")].tolist():
                ngram = write_ngram(batch, level, int(level.gram[run]))
                order = orders[int(batch.item[level.text[run]])]
                if matched[run]:
                    order["matched"].append(ngram)
                if matched[run] < level.count[run]:
                    order["unmatched"].append(ngram)
        return found


def _columns(rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Correct [..., 4], n-grams [..., 4], words, reference words and captions [...]."""
    return rows[..., :4], rows[..., 4:8], rows[..., 8], rows[..., 9], rows[..., 10]


def _largest(values: NDArray[np.int32], owner: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The largest value of each owner, and the owners; values of an owner stand together."""
    if not len(values):
        return values, owner
    start = np.flatnonzero(np.concatenate(([True], owner[1:] != owner[:-1])))
    return np.maximum.reduceat(values, start), owner[start]


def _closest_reference(batch: Batch, captions: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each caption, the length of the reference that is nearest to its own; of two as near, the shorter."""
    references = np.flatnonzero(batch.item < 0)
    first = np.searchsorted(batch.sample[references], batch.sample[captions])
    each = batch.references[captions]
    if not len(captions):
        return each
    # All references of the sample of a caption, one after the other.
    length = batch.lengths[references][ranges(first, each)]
    distance = np.abs(length - np.repeat(batch.lengths[captions], each))
    # One number that orders by distance, then by length.
    step = int(length.max()) + 1
    return np.minimum.reduceat(distance * step + length, np.cumsum(each) - each) % step
