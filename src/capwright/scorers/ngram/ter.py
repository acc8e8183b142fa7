"""TER: how many edits turn a caption into a reference, moving a phrase being one. Counting is left to sacrebleu."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capwright.scorers.base import ScorerSpec, ratio
from capwright.scorers.ngram._sacrebleu import SacreBLEUContext, SacreBLEUScorer


@dataclass(eq=False)
class TER(SacreBLEUScorer):
    """The scorer `ter` (Snover et al., AMTA 2006; 2006.amta-papers.25).

    One output, `ter`, lower is better: 100 * edits / words of a reference. Edits insert, delete or change a word, or
    move a run of words. A caption needs the edits of the reference that takes fewest, and is divided by the mean length
    of all. The score of a corpus is that of the sums. It equals sacrebleu's `corpus_score` of a corpus and its
    `sentence_score` of a caption. It is 0 for a caption that is a reference and has no upper limit. An empty caption
    needs the words of the shortest reference: 100 with one reference, less with several. A sample without references is
    unknown. Where references have no words (which only `no_punct` brings about), a caption with words has 100 and one
    without 0.

    The reward `kept` is 1 - edits / words, and 0 where that is below 0.

    Args:
        normalized: set punctuation apart, as the Tercom program does when it is asked to.
        no_punct: leave punctuation out.
        asian_support: cut Chinese and Japanese text into characters; only with `normalized` or `no_punct`.
        case_sensitive: tell upper from lower case.

    Raises:
        ScorerError: a bad option.
        NotInstalledError: sacrebleu is not there.
    """

    spec = ScorerSpec(
        name="ter",
        ranges={"ter": (0.0, np.inf)},
        needs={"references"},
        higher_is_better=False,
        rewards=("kept",),
        about="edits that turn a caption into its nearest reference, moving a phrase being one; extra `chrf`",
        source="2006.amta-papers.25",
        titles={"ter": "TER"},
    )
    columns = ("edits", "words", "captions")

    normalized: bool = False
    no_punct: bool = False
    asian_support: bool = False
    case_sensitive: bool = False

    def __post_init__(self) -> None:
        cut = dict(normalized=self.normalized, no_punct=self.no_punct, asian_support=self.asian_support)
        self._load("TER", **cut, case_sensitive=self.case_sensitive)

    def finalize(self, summed: NDArray[np.float64]) -> NDArray[np.float64]:
        """[..., 3] -> [..., 1], 0 or more; NaN where nothing was compared."""
        edits, words, captions = np.moveaxis(np.asarray(summed, dtype=np.float64), -1, 0)
        rate = np.where(words > 0, ratio(edits, words), np.minimum(edits, 1.0))
        return np.where(captions > 0, 100 * rate, np.nan)[..., None]

    def shape(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """The reward "kept" [..., 1] of rows [..., 3], in [0, 1]; NaN where nothing was compared."""
        return np.maximum(0.0, 1 - self.finalize(rows) / 100)

    def fields(self, context: SacreBLEUContext) -> Mapping[str, object]:
        """`ter|case:lc|norm:no|punct:yes|asian:no|refs:5..7|sacrebleu:2.6.0|v:1`."""
        case, norm = "mixed" if self.case_sensitive else "lc", "yes" if self.normalized else "no"
        punct, asian = "no" if self.no_punct else "yes", "yes" if self.asian_support else "no"
        return dict(case=case, norm=norm, punct=punct, asian=asian, **super().fields(context))
