"""chrF: how many character n-grams a caption shares with its best reference. Counting is left to sacrebleu."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from capwright.scorers.base import ScorerSpec
from capwright.scorers.ngram._sacrebleu import SacreBLEUContext, SacreBLEUScorer

#: What a ratio without a denominator counts as when `effective_order` is off, as in sacrebleu.
_EPS = 1e-16


@dataclass(eq=False)
class ChrF(SacreBLEUScorer):
    """The scorer `chrf` (Popović 2015, W15-3049; with `word_order=2` chrF++, Popović 2017, W17-4770).

    One output, `chrf`, in [0, 100]: the F-score (recall counts `beta` times) of character n-grams of 1 to 6
    characters, white space left out. It equals sacrebleu's `corpus_score` of a corpus and its `sentence_score` of a
    caption. A caption is compared with the one of its references that gives it the highest score. An empty caption
    has score 0; a sample without references is unknown.

    Args:
        char_order: longest n-gram of characters.
        word_order: longest n-gram of words; 0 for chrF, 2 for chrF++.
        beta: weight of recall against precision.
        lowercase: fold upper case.
        effective_order: average only over orders that both texts have. Off, every order counts and what is missing
            counts as nothing (sacrebleu's `eps_smoothing`, as in the first chrF++ script, NLTK and Moses).

    Raises:
        ScorerError: a bad option.
        NotInstalledError: sacrebleu is not there.
    """

    spec = ScorerSpec(
        name="chrf",
        ranges={"chrf": (0.0, 100.0)},
        needs={"references"},
        about="character n-grams shared with the best reference; extra `chrf`",
        source="W15-3049",
        titles={"chrf": "chrF"},
    )

    char_order: Annotated[int, Field(ge=1, le=100)] = 6
    word_order: Annotated[int, Field(ge=0, le=100)] = 0
    beta: Annotated[int, Field(ge=1, le=100)] = 2
    lowercase: bool = False
    effective_order: bool = True

    def __post_init__(self) -> None:
        self._orders = self.char_order + self.word_order
        orders = dict(char_order=self.char_order, word_order=self.word_order, beta=self.beta)
        self._load("CHRF", **orders, lowercase=self.lowercase, whitespace=False, eps_smoothing=not self.effective_order)

    def width(self, context: SacreBLEUContext) -> int:
        """(n-grams of the caption, of its best reference, matches) for each order, then 1."""
        return 3 * self._orders + 1

    def finalize(self, summed: NDArray[np.float64]) -> NDArray[np.float64]:
        """[..., 3 * orders + 1] -> [..., 1], in [0, 100]; NaN where nothing was compared."""
        summed = np.asarray(summed, dtype=np.float64)
        said, meant, matched = np.moveaxis(summed[..., :-1].reshape(*summed.shape[:-1], self._orders, 3), -1, 0)
        missing = 0.0 if self.effective_order else _EPS
        precision = np.divide(matched, said, out=np.full(said.shape, missing), where=said > 0)
        recall = np.divide(matched, meant, out=np.full(said.shape, missing), where=meant > 0)
        if self.effective_order:
            both = (said > 0) & (meant > 0)
            n = np.maximum(both.sum(-1), 1)
            score = self._f_score((precision * both).sum(-1) / n, (recall * both).sum(-1) / n, 0.0)
        else:
            score = self._f_score(precision, recall, _EPS).mean(-1)
        return np.where(summed[..., -1] > 0, 100 * score, np.nan)[..., None]

    def fields(self, context: SacreBLEUContext) -> Mapping[str, object]:
        """`chrf|nc:6|nw:0|beta:2|case:mixed|eff:yes|space:no|refs:5..7|sacrebleu:2.6.0|v:1`."""
        case, order = "lc" if self.lowercase else "mixed", "yes" if self.effective_order else "no"
        counted = dict(nc=self.char_order, nw=self.word_order, beta=self.beta, case=case, eff=order, space="no")
        return dict(counted, **super().fields(context))

    def _f_score(
        self, precision: NDArray[np.float64], recall: NDArray[np.float64], empty: float
    ) -> NDArray[np.float64]:
        weight = self.beta**2
        below = weight * precision + recall
        above = (1 + weight) * precision * recall
        return np.divide(above, below, out=np.full(below.shape, empty), where=below > 0)
