"""distinct-n: the share of n-grams in a set of captions that are different (arXiv 1510.03055), and the vocabulary."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from capwright.arrays import Floats, Ints
from capwright.scorers._words import WordScorer
from capwright.scorers.base import SCORED, Context, Corpus, Item, ScorerSpec, Stats, item_status, ratio
from capwright.scorers.options import Positive
from capwright.text.tokenizers import Coded
from capwright.types import ScorerError

_LONGEST = 3
_SHARES = tuple(f"distinct{n}" for n in range(1, _LONGEST + 1))


class NGrams(NamedTuple):
    """All n-grams of one length. `gram` and `position` are int64 [M]: which n-gram stands at which token.

    Equal numbers are equal n-grams that grew from equal numbers; `position` ascends.
    """

    n: int
    gram: Ints
    position: Ints


@dataclass(eq=False)
class Distinct(WordScorer[Context]):
    """The scorer `distinct`, of a whole set of captions:

        distinct1, distinct2, distinct3: different n-grams / n-grams, in (0, 1]. distinct1 is the headline.
        vocabulary: how many different tokens there are.

    The shares fall and the vocabulary grows with the amount of text, so only sets of about the same size compare. With
    a budget they do not: then the numbers are what is expected of `budget` n-grams drawn from all without replacement
    (rarefaction), (expected number of different n-grams) / budget, and expected number of different tokens.

    Rows are linearized (see `ScorerSpec.unit`): give `stats` all captions at once. Unknown captions are left out, empty
    ones have no n-grams. A set without any n-gram of a length has no share: NaN.

    Args:
        tokenizer: a name that `tokenizers.get_tokenizer` knows.
        budget: how many n-grams of each length to compare at, at least 1; None counts all.
    """

    spec = ScorerSpec(
        name="distinct",
        outputs=(*_SHARES, "vocabulary"),
        ranges=dict.fromkeys(_SHARES, (0.0, 1.0)) | {"vocabulary": (0.0, math.inf)},
        unit="set",
        about="how varied a set of captions is: the share of n-grams that are different",
        source="arXiv 1510.03055",
        page="diversity",
    )

    budget: Positive | None = None

    def prepare(self, corpus: Corpus) -> Context:
        """Nothing to learn; the corpus is not read."""
        return self.make_context([self._cut.name, self.budget])

    def stats(self, items: Sequence[Item], context: Context) -> Stats:
        """Rows of a set: (linearized value, 1) of each output. The set is all items of this call.

        Raises ScorerError when the set has fewer n-grams than the budget.
        """
        status = tuple(item_status(item) for item in items)
        measured = [i for i, state in enumerate(status) if state in SCORED]
        rows = np.zeros((len(items), 2 * len(self.spec.outputs)))
        coded = self._cut.codes([items[i].caption for i in measured])
        text = np.repeat(np.arange(len(measured)), coded.lengths)
        grown = start_ngrams(coded)
        columns: list[tuple[float, Floats]] = []
        for _ in range(_LONGEST):
            grown = grow_ngrams(coded, grown)
            columns.append(self._share(grown, text, len(measured)))
            if grown.n == 1:
                vocabulary = self._count(grown, text, len(measured))
        columns.append(vocabulary)
        for k, (value, change) in enumerate(columns):
            if measured and not np.isnan(value):
                rows[measured, 2 * k] = value + (len(measured) - 1) * (change.mean() - change)
                rows[measured, 2 * k + 1] = 1
        return Stats.of(rows, status)

    def finalize(self, summed: Floats) -> Floats:
        """[..., 8] -> [..., 4]; NaN where nothing is known."""
        summed = np.asarray(summed, dtype=np.float64)
        return ratio(summed[..., ::2], summed[..., 1::2])

    def fields(self, context: Context) -> dict[str, object]:
        """`distinct|n:1..3|tok:ptb-py.1|ws:collapse|budget:5000|v:1`."""
        return dict(n=f"1..{_LONGEST}", tok=self._cut.name, ws="collapse", budget=self.budget)

    def _count(self, grown: NGrams, text: Ints, captions: int) -> tuple[float, Floats]:
        """Different n-grams in the set, and by how much that changes when each caption is left out."""
        runs = _runs(grown, text)
        if self.budget is not None:
            return _rarefied(grown, runs, text, captions, self.budget)
        alone = np.bincount(runs.gram)[runs.gram] == 1
        return float(runs.gram.max(initial=-1) + 1), -np.bincount(runs.text[alone], minlength=captions).astype(float)

    def _share(self, grown: NGrams, text: Ints, captions: int) -> tuple[float, Floats]:
        """Share of n-grams that are different, and by how much it changes when each caption is left out."""
        total = len(grown.gram)
        if total == 0:
            return np.nan, np.zeros(captions)
        different, change = self._count(grown, text, captions)
        if self.budget is not None:
            return different / self.budget, change / self.budget
        own = np.bincount(text[grown.position], minlength=captions)
        left = total - own  # without the only caption that has n-grams there is no share: it counts as unchanged
        return different / total, np.where(
            left > 0, (own * different + change * total) / (total * np.maximum(left, 1)), 0
        )


def start_ngrams(coded: Coded, apart: bool = False) -> NGrams:
    """n-grams of no words, to be grown; `apart` keeps the n-grams of different texts different."""
    position = np.arange(len(coded.codes))
    return NGrams(0, np.repeat(np.arange(len(coded.lengths)), coded.lengths) if apart else 0 * position, position)


def grow_ngrams(coded: Coded, ngrams: NGrams) -> NGrams:
    """n-grams longer by one word; those that would reach beyond their text are left out."""
    n = ngrams.n + 1
    ends = np.repeat(np.cumsum(coded.lengths), coded.lengths)
    fits = ngrams.position + n <= ends[ngrams.position]
    position = ngrams.position[fits]
    key = ngrams.gram[fits] * (int(coded.codes.max(initial=0)) + 1) + coded.codes[position + n - 1]
    return NGrams(n, np.unique(key, return_inverse=True)[1].reshape(-1), position)


class _Runs(NamedTuple):
    """The occurrences of an n-gram in one caption: which n-gram, which caption, how many times."""

    gram: Ints
    text: Ints
    times: Ints


def _runs(grown: NGrams, text: Ints) -> _Runs:
    texts = int(text.max(initial=0)) + 1
    key, times = np.unique(grown.gram * texts + text[grown.position], return_counts=True)
    return _Runs(key // texts, key % texts, times)


def _rarefied(grown: NGrams, runs: _Runs, text: Ints, captions: int, budget: int) -> tuple[float, Floats]:
    """Expected number of different n-grams among `budget` drawn, and its changes when captions are left out."""
    total = len(grown.gram)
    own = np.bincount(text[grown.position], minlength=captions)
    most = total - int(own.max(initial=0))
    if most < budget:
        raise ScorerError(
            f"distinct: the captions have {total} {grown.n}-grams, {most} without the longest caption, which "
            f"is less than the budget of {budget}; choose a smaller budget"
        )
    counts = np.bincount(grown.gram)
    how_often, of_that = np.unique(counts, return_counts=True)
    value = float(of_that @ (1 - _unseen(total, int(counts.max()), budget)[how_often]))
    change = np.zeros(captions)
    for size in np.unique(own).tolist():
        unseen = _unseen(total - size, int(counts.max()), budget)
        here = own == size
        change[here] = of_that @ (1 - unseen[how_often]) - value
        its = here[runs.text]
        before, gone = counts[runs.gram[its]], runs.times[its]
        change += np.bincount(runs.text[its], unseen[before] - unseen[before - gone], minlength=captions)
    return value, change


def _unseen(total: int, most: int, budget: int) -> Floats:
    """[most + 1]: probability that none of c equal n-grams among `total` is among `budget` drawn, for c = 0..most.

    It is the product of (1 - budget / (total - j)) over j < c: Hurlbert's rarefaction (Ecology 52, 1971).
    """
    steps = np.arange(min(most, total - budget))
    unseen = np.zeros(most + 1)
    unseen[: len(steps) + 1] = np.exp(np.concatenate(([0.0], np.cumsum(np.log1p(-budget / (total - steps))))))
    return unseen
