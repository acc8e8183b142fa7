"""How different several captions of one image are: self-CIDEr (arXiv 1903.12020), self-BLEU, share of distinct ones.

Both comparisons are those of the scorers `cider` and `bleu`, with the other captions in the place of references.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capwright.scorers._words import WordScorer
from capwright.scorers.base import SCORED, Context, Corpus, Item, ScorerSpec, Stats, by_image
from capwright.scorers.ngram.bleu import BLEU
from capwright.scorers.ngram.cider import CIDEr, CIDErContext
from capwright.types import NO_IMAGE, DataError, Sample

#: Pairs of captions that are compared at once.
_PAIRS = 20_000
#: Eigenvalues below this share of the largest are rounding, and their square roots would not be small.
_ROUNDING = 1e-13
#: Its caption stands for any text: frozen idf tables are read without references.
_ANY = Sample("any", NO_IMAGE, ("a caption",))


@dataclass(frozen=True)
class DiversityContext(Context):
    """What n-grams weigh by."""

    cider: CIDErContext


@dataclass(eq=False)
class Diversity(WordScorer[DiversityContext]):
    """The scorer `diversity`: captions of one image beside each other, means over images that have several.

    Items of one call with the same `sample.id` are the captions of an image. The image has one row, owned by the
    first of them. Nothing here says whether captions are right: nonsense is diverse, so no direction is better.

    Outputs:
        selfCider: from 0 (all say the same) to 1 (no two share a word that tells images apart). The headline.
            -log(sqrt(l_1) / sum of sqrt(l_i)) / log(m), with l_i the eigenvalues, largest first, of the m x m matrix
            of CIDEr between captions.
        selfBleu: mean over captions of their smoothed BLEU-4 against all others of the image, from 0 to 1; high is
            alike.
        distinctShare: share of captions that are different, when case and punctuation are put aside; 1/m to 1.
    An empty caption counts as a copy of another (the first by the alphabet), so that saying nothing adds no diversity.
    An image with one caption has no diversity: NaN. One with a caption that is unknown is unknown.

    Args:
        tokenizer: a name that `tokenizers.get_tokenizer` knows.
        idf: what n-grams weigh by in selfCider: "refs", "coco-val2014" (needs no references), or the path of a table;
            see `cider.CIDErD`.
    """

    spec = ScorerSpec(
        name="diversity",
        outputs=("selfCider", "selfBleu", "distinctShare"),
        needs={"several captions", "references"},
        unit="item|ctx",
        higher_is_better=None,
        about="how different several captions of one image are",
        source="arXiv 1903.12020",
    )
    context_type = DiversityContext

    idf: str | Path = "refs"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._cider = CIDEr(tokenizer=self.tokenizer, idf=self.idf)
        self._bleu = BLEU(tokenizer=self.tokenizer)
        if str(self.idf) != "refs":
            self.spec = replace(self.spec, needs={"several captions"})

    def prepare(self, corpus: Corpus) -> DiversityContext:
        """Count in how many samples n-grams are, or read the frozen table.

        Raises DataError when the idf table cannot be made or read.
        """
        try:
            cider = self._cider.prepare(corpus if str(self.idf) == "refs" else Corpus([_ANY]))
        except DataError as error:
            reason = str(error).removeprefix("cider: ")
            raise DataError(f'diversity: {reason} (idf="coco-val2014" needs no references)') from error
        return DiversityContext("diversity", cider.fingerprint, self.spec.outputs, cider)

    def stats(self, items: Sequence[Item], context: Context) -> Stats:
        """Rows (selfCider, selfBleu, distinctShare, 1), one an image; all zero where it has but one caption.

        Evidence: {"captions": how many, "different": how many of them}.
        """
        own = self.own_context(context)
        images, status = by_image(items)
        rows = np.zeros((len(images), 4))
        evidence: list[dict[str, Any] | None] = [None] * len(images)
        captions = {
            number: [items[index].caption for index in members]
            for number, (members, state) in enumerate(zip(images, status))
            if state in SCORED and len(members) > 1
        }
        for chosen in _portions(captions):
            texts = [self._without_empty(captions[number]) for number in chosen]
            for number, group, kernel, bleu in zip(chosen, texts, self._kernels(texts, own), self._bleus(texts)):
                different = len(set(map(tuple, self._cut(group))))
                rows[number] = spread(kernel), bleu.mean(), different / len(group), 1
                evidence[number] = {"captions": len(group), "different": different}
        return Stats.of(rows, status, evidence, [members[0] for members in images])

    def fields(self, context: DiversityContext) -> dict[str, object]:
        """`diversity|n:4|idf:refs@5000#3f2a1b7c|smooth:add1|tok:ptb-py.1|ws:collapse|v:1`."""
        return dict(n=4, idf=context.cider.idf, smooth="add1", tok=self._cut.name, ws="collapse")

    def _without_empty(self, captions: Sequence[str]) -> list[str]:
        """The captions, with a copy of the first by the alphabet for each that has no words."""
        tokens = self._cut(captions)
        copied = min((caption for caption, words in zip(captions, tokens) if words), default="")
        return [caption if words else copied for caption, words in zip(captions, tokens)]

    def _kernels(self, groups: Sequence[Sequence[str]], context: DiversityContext) -> list[NDArray[np.float64]]:
        """For each group of m captions: CIDEr [m, m] between them, from 0 to 1. It is symmetric; half is measured."""
        items = [
            Item(sample, caption)
            for group in groups
            for number, sample in enumerate(_as_references([text] for text in group))
            for caption in group[: number + 1]
        ]
        found = self._cider.stats(items, context.cider).rows[:, 0] / 10
        kernels, start = [], 0
        for group in groups:
            size = len(group)
            kernel = np.zeros((size, size))
            row, column = np.tril_indices(size)
            kernel[row, column] = kernel[column, row] = found[start : start + len(row)]
            start += len(row)
            kernels.append(kernel)
        return kernels

    def _bleus(self, groups: Sequence[Sequence[str]]) -> list[NDArray[np.float64]]:
        """For each group of m captions: smoothed BLEU-4 [m] of each against the others."""
        others = [[*group[:number], *group[number + 1 :]] for group in groups for number in range(len(group))]
        captions = [caption for group in groups for caption in group]
        items = [Item(sample, caption) for sample, caption in zip(_as_references(others), captions)]
        shaped = self._bleu.shape(self._bleu.stats(items, self._bleu.prepare(Corpus([_ANY]))).rows)[:, 0]
        # Captions without words are all the same, and BLEU has no word to say so.
        shaped[[not words for words in self._cut(captions)]] = 1.0
        return np.split(shaped, np.cumsum([len(group) for group in groups])[:-1])


def spread(kernel: NDArray[np.float64]) -> float:
    """Self-CIDEr of a matrix [m, m] of similarities, m > 1, symmetric without negative eigenvalues; from 0 to 1.

    0 for a matrix of zeros: captions in which nothing tells images apart. The scale of the matrix does not matter.
    """
    values = np.linalg.eigvalsh(kernel)
    largest = values[-1]
    if largest <= 0:
        return 0.0
    roots = np.sqrt(np.where(values > _ROUNDING * largest, values, 0.0))
    return float(np.log(roots.sum() / roots[-1]) / np.log(len(values)))


def _as_references(texts: Iterator[list[str]] | Sequence[list[str]]) -> Iterator[Sample]:
    """Samples whose references are captions."""
    return (Sample("", NO_IMAGE, tuple(group)) for group in texts)


def _portions(captions: dict[int, list[str]]) -> Iterator[list[int]]:
    """Images whose captions make about `_PAIRS` pairs together."""
    portion: list[int] = []
    pairs = 0
    for number, group in captions.items():
        portion.append(number)
        pairs += len(group) ** 2
        if pairs >= _PAIRS:
            yield portion
            portion, pairs = [], 0
    if portion:
        yield portion
