"""ROUGE-L (Lin, ACL workshop 2004, W04-1013) as COCO captions are scored with it: the longest common subsequence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from capwright.arrays import Floats, Ints
from capwright.scorers.base import (
    SCORED,
    Context,
    Corpus,
    Item,
    Scorer,
    ScorerSpec,
    Stats,
    item_status,
    ratio,
    references_of,
)
from capwright.scorers.ngram._ngrams import count_references
from capwright.text.digest import fingerprint
from capwright.text.subsequence import common_lengths, common_words
from capwright.text.tokenizers import get_tokenizer

_BETA = 1.2


@dataclass(frozen=True)
class ROUGELContext(Context):
    """How many references samples have ("5..7"); no number depends on it."""

    references: str


class ROUGEL(Scorer[ROUGELContext]):
    """The scorer `rougeL`: one output, from 0 to 1; the score of a corpus is the mean over captions.

    With P the largest share of a caption's words that is a common subsequence with a reference, and R the largest share
    of a reference's words (perhaps of another reference): (1 + b²) P R / (R + b² P), b = 1.2. A caption without words
    scores 1 against a reference without words ("!"), and 0 against others, as in the reference implementation; a blank
    reference is none.

    Args:
        tokenizer: a name that `tokenizers.get_tokenizer` knows.
    """

    context_type = ROUGELContext

    def __init__(self, *, tokenizer: str = "ptb") -> None:
        self._tokenizer = get_tokenizer(tokenizer)
        self.spec = ScorerSpec(
            name="rougeL",
            version="1",
            outputs=("rougeL",),
            ranges={"rougeL": (0.0, 1.0)},
            needs=frozenset({"references"}),
        )

    def prepare(self, corpus: Corpus) -> ROUGELContext:
        """Count references, for the signature. Raises DataError when no sample has any."""
        references = count_references(corpus, "rougeL")
        return ROUGELContext("rougeL", fingerprint(["rougeL", self._tokenizer.name]), ("rougeL",), references)

    def stats(self, items: Sequence[Item], context: Context) -> Stats:
        """One row (score, 1) an item; (0, 0), which `finalize` makes NaN, where the sample has no references."""
        rows = np.zeros((len(items), 2))
        status = tuple(map(item_status, items))
        measured = [i for i, state in enumerate(status) if state in SCORED and references_of(items[i].sample)]
        if measured:
            precision, recall, first = self._compare([items[index] for index in measured])
            rows[measured, 0] = _f(np.maximum.reduceat(precision, first), np.maximum.reduceat(recall, first))
            rows[measured, 1] = 1
        return Stats(rows, np.arange(len(items)), status, (None,) * len(items))

    def fields(self, context: Context) -> dict[str, object]:
        """`rougeL|beta:1.2|tok:ptb-py.1|ws:collapse|refs:5..7|v:1`."""
        context = self.own(context)
        return dict(beta=_BETA, tok=self._tokenizer.name, ws="collapse", refs=context.references)

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
            caption, reference = self._tokenizer([item.caption, best])
            number = item.sample.references.index(best)
            found[index] = {"reference": number, "words": common_words(caption, reference)}
        return found

    def _compare(self, items: Sequence[Item]) -> tuple[Floats, Floats, Ints]:
        """For each reference of each item, the shares of the caption and of the reference that are common.

        The third array says where the references of each item begin.
        """
        meant = [references_of(item.sample) for item in items]
        references = np.array(list(map(len, meant)))
        coded = self._tokenizer.codes([text for item, those in zip(items, meant) for text in (item.caption, *those)])
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
