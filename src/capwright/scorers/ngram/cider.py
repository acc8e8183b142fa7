"""CIDEr-D and CIDEr (arXiv 1411.5726): how alike a caption and its references are, in n-grams that few images share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from capwright.arrays import Floats, Ints
from capwright.scorers._words import ReferenceContext, ReferenceScorer, count_references
from capwright.scorers.base import Context, Corpus, Item, ScorerSpec, Stats
from capwright.scorers.ngram._ngrams import Batch, Level, gather, levels, write_ngram
from capwright.scorers.ngram.idf import COCO_VAL2014, coco_val2014, read_idf
from capwright.scorers.ngram.idf_table import IdfTable, count_samples
from capwright.types import DataError


@dataclass(frozen=True)
class CIDErContext(ReferenceContext):
    """A frozen idf table, and where it is from ("refs", "coco-val2014", "table")."""

    table: IdfTable
    origin: str

    @property
    def idf(self) -> str:
        """The table, for signatures: "refs@5000#3f2a1b7c"."""
        return f"{self.origin}@{self.table.samples}#{self.table.digest[:8]}"


@dataclass(eq=False)
class CIDErD(ReferenceScorer[CIDErContext]):
    """The scorer `ciderD`: one output, from 0 to 10; the number that COCO tools print as "CIDEr".

    A row is (score, 1): the score of a corpus is the mean over captions.

    Args:
        tokenizer: a name that `tokenizers.get_tokenizer` knows.
        n: n-grams of 1 to n words count, all lengths alike.
        sigma: how fast a caption of another length loses, in n-grams.
        idf: what n-grams weigh by. "refs": the references that `prepare` is given, which must be of two samples or
            more. "coco-val2014": the built-in table. Anything else is the path of a file that `idf.build_idf` wrote.
    """

    spec = ScorerSpec(
        name="ciderD",
        ranges={"ciderD": (0.0, 10.0)},
        needs={"references"},
        unit="item|ctx",
        about="n-grams shared with references that few images share: what the COCO tools call CIDEr",
        source="arXiv 1411.5726",
        page="cider",
        titles={"ciderD": "CIDEr-D"},
    )
    context_type = CIDErContext

    n: Annotated[int, Field(ge=1, le=100)] = 4
    sigma: Annotated[float, Field(gt=0)] = 6.0
    idf: str | Path = "refs"

    _plain = False

    def prepare(self, corpus: Corpus) -> CIDErContext:
        """Count in how many samples n-grams are, or read the frozen table.

        Raises DataError when no sample has references, when idf is "refs" and only one sample has (log 1 = 0: every
        score would be 0), or when the table cannot be read or was cut by another kind of tokenizer.
        """
        references, name, idf = count_references(corpus, self.spec.name), self.spec.name, str(self.idf)
        if idf == "refs":
            table, origin = count_samples(corpus, self._cut, self.n), "refs"
            if table.samples < 2:
                raise DataError(
                    f"{name}: with the references of one sample every score is 0, because n-grams are weighed by "
                    f'log(samples) = log 1 = 0; give more samples, or take a frozen table: idf="{COCO_VAL2014}" or a '
                    f"file that build_idf wrote (on the command line: --idf {COCO_VAL2014})"
                )
        elif idf == COCO_VAL2014:
            table, origin = coco_val2014(), COCO_VAL2014
        else:
            table, origin = read_idf(idf), "table"
        if table.n < self.n:
            raise DataError(
                f"{name}: the idf table {idf} has n-grams of 1 to {table.n} words, not {self.n}; "
                f"build it with n={self.n}, or set n={table.n}"
            )
        if not _alike(table.tokenizer, self._cut.name):
            raise DataError(
                f"{name}: the idf table {idf} was cut by {table.tokenizer!r}, captions would be cut by "
                f"{self._cut.name!r}; build a table with that tokenizer"
            )
        content = [name, table.digest, self._cut.name, self.n, self.sigma]
        return self.make_context(content, references=references, table=table, origin=origin)

    def stats(self, items: Sequence[Item], context: Context) -> Stats:
        """One row (score, 1) an item; (0, 0), which `finalize` makes NaN, where the sample has no references."""
        batch = gather(items, self._cut)
        scores = np.zeros(len(batch.item))
        for level, _, points in self._levels(batch, self.own_context(context)):
            scores += np.bincount(level.text[level.caption], weights=points, minlength=len(scores))
        captions = np.flatnonzero(batch.item >= 0)
        rows = np.zeros((len(items), 2))
        rows[batch.item[captions], 0] = scores[captions]
        rows[batch.item[captions], 1] = 1
        return Stats.of(rows, batch.status)

    def fields(self, context: CIDErContext) -> Mapping[str, object]:
        """`ciderD|n:4|sigma:6|idf:refs@5000#3f2a1b7c|tok:ptb-py.1|ws:collapse|refs:5..7|v:1`."""
        sigma = None if self._plain else self.sigma
        return dict(n=self.n, sigma=sigma, idf=context.idf, **super().fields(context))

    def explain(self, items: Sequence[Item], context: Context) -> list[dict[str, Any] | None]:
        """For each caption {"ngrams": [...]}, what it earned most by first; None where there is nothing to compare.

        Each is {"ngram", "count" in the caption, "references": share of the references that have it, "samples": how
        many samples of the idf table have it (1: one or none), "points"}. The points of a caption sum to its score.
        """
        own = self.own_context(context)
        batch = gather(items, self._cut)
        found: list[dict[str, Any] | None] = [None] * len(items)
        for index in batch.item[batch.item >= 0].tolist():
            found[index] = {"ngrams": []}
        for level, numbers, points in self._levels(batch, own):
            earned = np.bincount(level.caption, weights=points, minlength=len(level.gram))
            met = np.bincount(level.caption, minlength=len(level.gram))
            samples = np.append(own.table.counts[level.n - 1], 1)[numbers]
            for run in np.flatnonzero(met).tolist():
                text, gram = int(level.text[run]), int(level.gram[run])
                found[batch.item[text]]["ngrams"].append(
                    {
                        "ngram": write_ngram(batch, level, gram),
                        "count": int(level.count[run]),
                        "references": float(met[run] / batch.references[text]),
                        "samples": int(samples[gram]),
                        "points": float(earned[run]),
                    }
                )
        for evidence in found:
            if evidence is not None:
                evidence["ngrams"].sort(key=lambda row: (-row["points"], row["ngram"]))
        return found

    def _levels(self, batch: Batch, context: CIDErContext) -> list[tuple[Level, Ints, Floats]]:
        """For each length of n-grams: the level, numbers of its grams in the table, and points of its meetings."""
        table = context.table
        word = table.numbers(batch.words)
        # What the reference implementation calls length is the number of 2-grams.
        length = np.maximum(0, batch.lengths - 1).astype(np.float64)
        numbers = np.zeros(0, dtype=np.int64)
        found = []
        for level in levels(batch, self.n):
            parent = numbers[level.parent] if level.n > 1 else numbers
            numbers = table.find(level.n, parent, word[level.last])
            weight = table.weights(level.n, numbers)
            run_weight = level.count * weight[level.gram]
            norm = np.sqrt(np.bincount(level.text, weights=run_weight**2, minlength=len(batch.item)))
            said, other = run_weight[level.caption], run_weight[level.reference]
            text, reference = level.text[level.caption], level.text[level.reference]
            if not self._plain:
                said = np.minimum(said, other)
                other = other * np.exp(-((length[text] - length[reference]) ** 2) / (2 * self.sigma**2))
            norms = norm[text] * norm[reference]
            alike = np.divide(said * other, norms, out=np.zeros(len(norms)), where=norms > 0)
            found.append((level, numbers, 10 * alike / (self.n * batch.references[text])))
        return found


@dataclass(eq=False)
class CIDEr(CIDErD):
    """The scorer `cider`: the plain form, the mean cosine of the weighted n-gram counts; one output, from 0 to 10.

    It has neither the clipping of counts nor the price of another length that make CIDEr-D harder to fool, so words
    said again and again earn more. COCO tools do not report it: what they call CIDEr is `ciderD`.

    Args:
        tokenizer, n, idf: as for `CIDErD`.
    """

    spec = replace(
        CIDErD.spec,
        name="cider",
        outputs=("cider",),
        ranges={"cider": (0.0, 10.0)},
        about="CIDEr without the guards of CIDEr-D",
        titles={"cider": "CIDEr"},
    )
    _plain = True

    sigma: Annotated[float, Field(gt=0)] = field(default=6.0, init=False)


def _alike(one: str, other: str) -> bool:
    """Whether two tokenizers cut alike: both PTB, or text that was cut before, by a tokenizer that we do not know."""
    kinds = {name.partition("-")[0] for name in (one, other)}
    return len(kinds) == 1 or "split" in kinds
