"""chrF: how many character n-grams a caption shares with its best reference. Counting is left to sacrebleu."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from capwright.scorers._words import ReferenceContext, count_references
from capwright.scorers.base import Corpus, Item, ItemStats, Scorer, ScorerSpec, references_of
from capwright.types import NotInstalledError, ScorerError

#: What a ratio without a denominator counts as when `effective_order` is off, as in sacrebleu.
_EPS = 1e-16


@dataclass(frozen=True)
class ChrFContext(ReferenceContext):
    """Also the version of sacrebleu, for the signature."""

    sacrebleu: str


@dataclass(eq=False)
class ChrF(Scorer[ChrFContext]):
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
    context_type = ChrFContext

    char_order: Annotated[int, Field(ge=1, le=100)] = 6
    word_order: Annotated[int, Field(ge=0, le=100)] = 0
    beta: Annotated[int, Field(ge=1, le=100)] = 2
    lowercase: bool = False
    effective_order: bool = True

    def __post_init__(self) -> None:
        self._orders = self.char_order + self.word_order
        self._version, self._counter = _load_sacrebleu(
            char_order=self.char_order,
            word_order=self.word_order,
            beta=self.beta,
            lowercase=self.lowercase,
            whitespace=False,
            eps_smoothing=not self.effective_order,
        )

    def prepare(self, corpus: Corpus) -> ChrFContext:
        """Nothing is learned; references are counted for the signature. Raises DataError when there are none."""
        options = [self.char_order, self.word_order, self.beta, self.lowercase, self.effective_order]
        references = count_references(corpus, "chrf")
        return self.make_context([*options, self._version], references=references, sacrebleu=self._version)

    def width(self, context: ChrFContext) -> int:
        """(n-grams of the caption, of its best reference, matches) for each order, then 1."""
        return 3 * self._orders + 1

    def measure(self, items: Sequence[Item], context: ChrFContext) -> Iterator[ItemStats]:
        """See `width`; unknown where a sample has no references."""
        counted: tuple[Sequence[str], dict[str, Any]] = ((), {})
        for item in items:
            references = references_of(item.sample)
            if not references:
                yield ItemStats(None)
                continue
            if references is not counted[0]:  # captions of one image come next to each other
                texts = [self._counter._preprocess_segment(text) for text in references]
                counted = (references, self._counter._extract_reference_info(texts))
            caption = self._counter._preprocess_segment(item.caption)
            yield ItemStats([*self._counter._compute_segment_statistics(caption, counted[1]), 1])

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

    def fields(self, context: ChrFContext) -> dict[str, object]:
        """`chrf|nc:6|nw:0|beta:2|case:mixed|eff:yes|space:no|refs:5..7|sacrebleu:2.6.0|v:1`."""
        case, order = "lc" if self.lowercase else "mixed", "yes" if self.effective_order else "no"
        counted = dict(nc=self.char_order, nw=self.word_order, beta=self.beta, case=case, eff=order, space="no")
        return counted | dict(refs=context.references, sacrebleu=context.sacrebleu)

    def _f_score(
        self, precision: NDArray[np.float64], recall: NDArray[np.float64], empty: float
    ) -> NDArray[np.float64]:
        weight = self.beta**2
        below = weight * precision + recall
        above = (1 + weight) * precision * recall
        return np.divide(above, below, out=np.full(below.shape, empty), where=below > 0)


def _load_sacrebleu(**options: Any) -> tuple[str, Any]:
    """The version of sacrebleu and its counter of n-grams."""
    try:
        sacrebleu = importlib.import_module("sacrebleu")
    except ImportError as error:
        raise NotInstalledError("chrf: not installed: pip install 'capwright[chrf]'") from error
    counter = sacrebleu.metrics.CHRF(**options)
    for step in ("_preprocess_segment", "_extract_reference_info", "_compute_segment_statistics"):
        if not hasattr(counter, step):
            raise ScorerError(
                f"chrf: sacrebleu {sacrebleu.__version__} does not tell its counts; install 'sacrebleu>=2.4,<2.7'"
            )
    return sacrebleu.__version__, counter
