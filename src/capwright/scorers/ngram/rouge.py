"""ROUGE-L (Lin, ACL workshop 2004, W04-1013) as COCO captions are scored with it: the longest common subsequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from capwright.arrays import Floats, Ints
from capwright.scorers._words import ReferenceContext, ReferenceScorer
from capwright.scorers.base import SCORED, Context, Item, ScorerSpec, Stats, item_status, ratio, references_of
from capwright.text.subsequence import common_lengths, common_words

_BETA = 1.2


class ROUGEL(ReferenceScorer[ReferenceContext]):
    """The scorer `rougeL`: one output, from 0 to 1; the score of a corpus is the mean over captions.

    With P the largest share of a caption's words that is a common subsequence with a reference, and R the largest share
    of a reference's words (perhaps of another reference): (1 + b²) P R / (R + b² P), b = 1.2. A caption without words
    scores 1 against a reference without words ("!"), and 0 against others, as in the reference implementation; a blank
    reference is none.

    Args:
        tokenizer: a name that `tokenizers.get_tokenizer` knows.
    """

    spec = ScorerSpec(
        name="rougeL",
        needs={"references"},
        about="the longest common subsequence with references, as the COCO tools find it",
        source="W04-1013",
        page="rouge",
        titles={"rougeL": "ROUGE-L"},
    )

    def stats(self, items: Sequence[Item], context: Context) -> Stats:
        """One row (score, 1) an item; (0, 0), which `finalize` makes NaN, where the sample has no references."""
        rows = np.zeros((len(items), 2))
        status = tuple(map(item_status, items))
        measured = [i for i, state in enumerate(status) if state in SCORED and references_of(items[i].sample)]
        if measured:
            precision, recall, first = self._compare([items[index] for index in measured])
            rows[measured, 0] = _f(np.maximum.reduceat(precision, first), np.maximum.reduceat(recall, first))
            rows[measured, 1] = 1
        return Stats.of(rows, status)

    def fields(self, context: ReferenceContext) -> Mapping[str, object]:
        """`rougeL|beta:1.2|tok:ptb-py.1|ws:collapse|refs:5..7|v:1`."""
        return dict(beta=_BETA, **super().fields(context))

    def explain(self, items: Sequence[Item], context: Context) -> list[dict[str, Any] | None]:
        """For each caption {"reference": number, from 0, of the one it is most like, "words": the common subsequence}.

        Most like: the highest score against that reference alone, the first of equals. None where the sample has no
        references.
        """
        found: list[dict[str, Any] | None] = [None] * len(items)
        measured = [i for i, item in enumerate(items) if item_status(item) in SCORED and references_of(item.sample)]
        for index in measured:
            item = items[index]
            precision, recall, _ = self._compare([item])
            best = references_of(item.sample)[int(np.argmax(_f(precision, recall)))]
            caption, reference = self._cut([item.caption, best])
            number = item.sample.references.index(best)
            found[index] = {"reference": number, "words": common_words(caption, reference)}
        return found

    def _compare(self, items: Sequence[Item]) -> tuple[Floats, Floats, Ints]:
        """For each reference of each item, the shares of the caption and of the reference that are common.

        The third array says where the references of each item begin.
        """
        meant = [references_of(item.sample) for item in items]
        references = np.array(list(map(len, meant)))
        coded = self._cut.codes([text for item, those in zip(items, meant) for text in (item.caption, *those)])
        # A text without words has one empty word, as "".split(" ") does.
        without = np.flatnonzero(coded.lengths == 0)
        codes = np.insert(coded.codes, np.cumsum(coded.lengths)[without], len(coded.words))
        lengths = np.maximum(1, coded.lengths)
        item = np.repeat(np.arange(len(items)), references + 1)
        common = common_lengths(codes, lengths, item)
        is_reference = np.ones(len(item), dtype=bool)
        is_reference[np.cumsum(references + 1) - references - 1] = False
        common, size = common[is_reference], lengths[is_reference]
        said = np.repeat(lengths[~is_reference], references)
        return common / said, common / size, np.cumsum(references) - references


def _f(precision: Floats, recall: Floats) -> Floats:
    return np.nan_to_num(ratio((1 + _BETA**2) * precision * recall, recall + _BETA**2 * precision))
