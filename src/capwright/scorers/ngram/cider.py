"""CIDEr-D and CIDEr (arXiv 1411.5726): how alike a caption and its references are, in n-grams that few images share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from capwright.arrays import Floats, Ints
from capwright.scorers.base import Context, Corpus, Item, Scorer, ScorerSpec, Stats
from capwright.scorers.ngram._ngrams import Batch, Level, count_references, gather, levels, write_ngram
from capwright.scorers.ngram.idf import COCO_VAL2014, coco_val2014, read_idf
from capwright.scorers.ngram.idf_table import IdfTable, count_samples
from capwright.text.digest import fingerprint
from capwright.text.tokenizers import get_tokenizer
from capwright.types import DataError, ScorerError


@dataclass(frozen=True)
class CIDErContext(Context):
    """A frozen idf table, where it is from ("refs", "coco-val2014", "table"), and references a sample ("5..7")."""

    table: IdfTable
    origin: str
    references: str


class CIDErD(Scorer[CIDErContext]):
    """The scorer `ciderD`: one output, from 0 to 10; the number that COCO tools print as "CIDEr".

    A row is (score, 1): the score of a corpus is the mean over captions.

    Args:
        tokenizer: a name that `tokenizers.get_tokenizer` knows.
        n: n-grams of 1 to n words count, all lengths alike.
        sigma: how fast a caption of another length loses, in n-grams.
        idf: what n-grams weigh by. "refs": the references that `prepare` is given, which must be of two samples or
            more. "coco-val2014": the built-in table. Anything else is the path of a file that `idf.build_idf` wrote.
    """

    context_type = CIDErContext

    _name = "ciderD"
    _plain = False

    def __init__(self, *, tokenizer: str = "ptb", n: int = 4, sigma: float = 6.0, idf: str | Path = "refs") -> None:
        if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= 100:
            raise ScorerError(f"{self._name}: n must be a whole number from 1 to 100, not {n!r}")
        if not 0 < sigma < math.inf:
            raise ScorerError(f"{self._name}: sigma must be a number above 0, not {sigma!r}")
        self._tokenizer = get_tokenizer(tokenizer)
        self._n = n
        self._sigma = float(sigma)
        self._idf = str(idf)
        self.spec = ScorerSpec(
            name=self._name,
            version="1",
            outputs=(self._name,),
            ranges={self._name: (0.0, 10.0)},
            needs=frozenset({"references"}),
            unit="item|ctx",
        )

    def prepare(self, corpus: Corpus) -> CIDErContext:
        """Count in how many samples n-grams are, or read the frozen table.

        Raises DataError when no sample has references, when idf is "refs" and only one sample has (log 1 = 0: every
        score would be 0), or when the table cannot be read or was cut by another kind of tokenizer.
        """
        references = count_references(corpus, self._name)
        if self._idf == "refs":
            table, origin = count_samples(corpus, self._tokenizer, self._n), "refs"
            if table.samples < 2:
                raise DataError(
                    f"{self._name}: with the references of one sample every score is 0, because n-grams are weighed by "
                    f'log(samples) = log 1 = 0; give more samples, or take a frozen table: idf="{COCO_VAL2014}" or a '
                    f"file that build_idf wrote (on the command line: --idf {COCO_VAL2014})"
                )
        elif self._idf == COCO_VAL2014:
            table, origin = coco_val2014(), COCO_VAL2014
        else:
            table, origin = read_idf(self._idf), "table"
        if table.n < self._n:
            raise DataError(
                f"{self._name}: the idf table {self._idf} has n-grams of 1 to {table.n} words, not {self._n}; "
                f"build it with n={self._n}, or set n={table.n}"
            )
        if not _alike(table.tokenizer, self._tokenizer.name):
            raise DataError(
                f"{self._name}: the idf table {self._idf} was cut by {table.tokenizer!r}, captions would be cut by "
                f"{self._tokenizer.name!r}; build a table with that tokenizer"
            )
        return CIDErContext(
            scorer=self._name,
            fingerprint=fingerprint([self._name, table.digest, self._tokenizer.name, self._n, self._sigma]),
            outputs=self.spec.outputs,
            table=table,
            origin=origin,
            references=references,
        )

    def stats(self, items: Sequence[Item], context: Context) -> Stats:
        """One row (score, 1) an item; (0, 0), which `finalize` makes NaN, where the sample has no references."""
        batch = gather(items, self._tokenizer)
        scores = np.zeros(len(batch.item))
        for level, _, points in self._levels(batch, self.own(context)):
            scores += np.bincount(level.text[level.caption], weights=points, minlength=len(scores))
        captions = np.flatnonzero(batch.item >= 0)
        rows = np.zeros((len(items), 2))
        rows[batch.item[captions], 0] = scores[captions]
        rows[batch.item[captions], 1] = 1
        return Stats(rows, np.arange(len(items)), batch.status, (None,) * len(items))

    def fields(self, context: Context) -> dict[str, object]:
        """`ciderD|n:4|sigma:6|idf:refs@5000#3f2a1b7c|tok:ptb-py.1|ws:collapse|refs:5..7|v:1`."""
        own = self.own(context)
        return dict(
            n=self._n,
            sigma=self._sigma if not self._plain else None,
            idf=f"{own.origin}@{own.table.samples}#{own.table.digest[:8]}",
            tok=self._tokenizer.name,
            ws="collapse",
            refs=own.references,
        )

    def explain(self, items: Sequence[Item], context: Context) -> list[dict[str, Any] | None]:
        """For each caption {"ngrams": [...]}, what it earned most by first; None where there is nothing to compare.

        Each is {"ngram", "count" in the caption, "references": share of the references that have it, "samples": how
        many samples of the idf table have it (1: one or none), "points"}. The points of a caption sum to its score.
        """
        own = self.own(context)
        batch = gather(items, self._tokenizer)
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
        for level in levels(batch, self._n):
            parent = numbers[level.parent] if level.n > 1 else numbers
            numbers = table.find(level.n, parent, word[level.last])
            weight = table.weights(level.n, numbers)
            run_weight = level.count * weight[level.gram]
            norm = np.sqrt(np.bincount(level.text, weights=run_weight**2, minlength=len(batch.item)))
            said, other = run_weight[level.caption], run_weight[level.reference]
            text, reference = level.text[level.caption], level.text[level.reference]
            if not self._plain:
                said = np.minimum(said, other)
                other = other * np.exp(-((length[text] - length[reference]) ** 2) / (2 * self._sigma**2))
            norms = norm[text] * norm[reference]
            alike = np.divide(said * other, norms, out=np.zeros(len(norms)), where=norms > 0)
            found.append((level, numbers, 10 * alike / (self._n * batch.references[text])))
        return found


class CIDEr(CIDErD):
    """The scorer `cider`: the plain form, the mean cosine of the weighted n-gram counts; one output, from 0 to 10.

    It has neither the clipping of counts nor the price of another length that make CIDEr-D harder to fool, so words
    said again and again earn more. COCO tools do not report it: what they call CIDEr is `ciderD`.

    Args:
        tokenizer, n, idf: as for `CIDErD`.
    """

    _name = "cider"
    _plain = True

    def __init__(self, *, tokenizer: str = "ptb", n: int = 4, idf: str | Path = "refs") -> None:
        super().__init__(tokenizer=tokenizer, n=n, idf=idf)


def _alike(one: str, other: str) -> bool:
    """Whether two tokenizers cut alike: both PTB, or text that was cut before, by a tokenizer that we do not know."""
    kinds = {name.partition("-")[0] for name in (one, other)}
    return len(kinds) == 1 or "split" in kinds
