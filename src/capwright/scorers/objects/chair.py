"""CHAIR: does a caption mention objects that are not in the image? (arXiv 1809.02156)

The words for objects are our own (objects.py); what else differs from the original is stated in docs/methods/chair.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capwright.scorers.base import Context, Corpus, Item, ItemStats, Scorer, ScorerSpec, ratio, references_of
from capwright.scorers.objects._object_table import (
    ObjectMention,
    ObjectTable,
    coco_objects,
    read_objects,
    vocabulary_objects,
)
from capwright.scorers.objects.tts import Span
from capwright.types import DataError, Sample, ScorerError

_NAMED_TABLES = ("auto", "coco", "vocabulary")


@dataclass(frozen=True)
class CHAIRContext(Context):
    """The table of objects, and what is taken for true: "terms+refs", "terms" or "refs"."""

    table: ObjectTable
    truth: str


@dataclass(eq=False)
class CHAIR(Scorer[CHAIRContext]):
    """The scorer `chair`.

    An object is in the image when it is among the terms of the sample (COCO instances; the terms of a domain) or
    when a reference mentions it. Outputs, shares in [0, 1] over a corpus:
        chairI: hallucinated mentions / mentions of objects. The headline; lower is better.
        chairS: captions with a hallucinated mention / captions. Lower is better; grows with the length of captions.
        recall: objects that captions mention / objects in the images. Higher is better, unlike the other two.
    An object mentioned twice is two mentions, but one object of `recall`. A sample of which nothing is known (no terms
    and no references) is unknown.

    Rewards, for each caption, from objects counted once:
        f1: 2 * covered / (named + present); 0 for a caption that names nothing, so silence does not pay. The default.
        faithful: covered / named; unknown (NaN) for a caption that names nothing.
        recall: covered / present.

    Args:
        objects: "coco" (80 categories), "vocabulary" (professional terms of the domain with their aliases), or the path
            of a YAML or JSON table. "auto" takes COCO when the vocabulary and the terms have no other names, and counts
            only categories that the vocabulary has; else the vocabulary.
        references: whether objects that a reference mentions are true.
    """

    spec = ScorerSpec(
        name="chair",
        outputs=("chairI", "chairS", "recall"),
        needs={"terms"},
        unit="item|ctx",
        higher_is_better=False,
        rewards=("f1", "faithful", "recall"),
        about="objects that captions make up, and that they leave out, of a list of objects",
        source="arXiv 1809.02156",
        titles={"chairI": "CHAIR-i", "chairS": "CHAIR-s"},
    )
    context_type = CHAIRContext
    # Mentions count each time; objects (`named`, `covered`, `present`) once a caption.
    columns = ("hallucinated", "mentions", "hallucinating", "captions", "named", "covered", "present")
    ratios = (("hallucinated", "mentions"), ("hallucinating", "captions"), ("covered", "present"))

    objects: str | Path = "auto"
    references: bool = True

    def __post_init__(self) -> None:
        self._choice, self._own = str(self.objects), None
        if self._choice not in _NAMED_TABLES:
            if not Path(self.objects).is_file():
                raise ScorerError(
                    f"chair.objects: there is no file {self._choice!r}; or use {', '.join(_NAMED_TABLES)}"
                )
            self._own = read_objects(self.objects)

    def prepare(self, corpus: Corpus) -> CHAIRContext:
        """Choose the table of objects.

        Raises DataError when no sample has terms (or references, where they count), or when the vocabulary is to be
        used and there is none.
        """
        terms = any(sample.terms for sample in corpus.samples)
        references = self.references and any(references_of(sample) for sample in corpus.samples)
        if not terms and not references:
            raise DataError(
                "chair: no sample says what is in its image; add instances (COCO annotations) or terms to the "
                f"samples{'' if self.references else ', or set references to true'}"
            )
        table = self._own or self._choose(corpus)
        truth = "+".join(word for word, there in (("terms", terms), ("refs", references)) if there)
        return self.make_context([table.fingerprint, truth, self.references], table=table, truth=truth)

    def measure(self, items: Sequence[Item], context: CHAIRContext) -> Iterator[ItemStats]:
        """Rows of `columns`; unknown where neither terms nor references say what is in an image.

        Evidence: {"spans": [Span, ...] ("right" or "wrong"), "missed": [objects not mentioned], "hallucinated",
        "mentions"}. Raises DataError for a term that a vocabulary table does not know.
        """
        truths: dict[int, frozenset[str] | None] = {}
        for item in items:
            if id(item.sample) not in truths:
                truths[id(item.sample)] = self._present(item.sample, context.table)
            present = truths[id(item.sample)]
            if present is None:
                yield ItemStats(None)
            else:
                mentions = context.table.find(item.caption)
                yield ItemStats(_count(mentions, present), evidence=_evidence(mentions, present))

    def shape(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rewards [..., 3] (f1, faithful, recall) of rows [..., 7], in [0, 1]; NaN where unknown."""
        named, covered, present = np.moveaxis(np.asarray(rows, dtype=np.float64)[..., 4:], -1, 0)
        columns = (ratio(2 * covered, named + present), ratio(covered, named), ratio(covered, present))
        return np.stack(columns, axis=-1)

    def fields(self, context: CHAIRContext) -> dict[str, object]:
        """`chair|objects:coco80#3f2a0c1d|truth:terms+refs|match:longest,plural|v:1`."""
        table = f"{context.table.name}{len(context.table)}#{context.table.fingerprint[:8]}"
        return dict(objects=table, truth=context.truth, match="longest,plural")

    def _choose(self, corpus: Corpus) -> ObjectTable:
        if self._choice == "coco":
            return coco_objects()
        extra = {term.name: term for sample in corpus.samples for term in sample.terms}
        names = {*corpus.vocabulary, *extra}
        if self._choice == "auto" and names.issubset(coco_objects().objects):
            return coco_objects().limited_to(names) if corpus.vocabulary else coco_objects()
        table = vocabulary_objects(corpus.vocabulary, (extra[name] for name in sorted(extra)))
        if not len(table):
            raise DataError(
                "chair: neither the vocabulary nor any sample has a professional term, so there are no objects to look "
                'for; add them to vocabulary.yaml, or choose objects="coco" or a table of your own'
            )
        return table

    def _present(self, sample: Sample, table: ObjectTable) -> frozenset[str] | None:
        """The objects in an image; None when nothing is known about it."""
        references = references_of(sample) if self.references else ()
        if not sample.terms and not references:
            return None
        known = [(term, table.lookup(term.name)) for term in sample.terms]
        if table.name == "vocabulary":
            for term, _ in known:
                if not table.knows(term.name):
                    raise DataError(
                        f"sample {sample.id!r}: the term {term.name!r} is not in the vocabulary that chair was "
                        "prepared with; add it to vocabulary.yaml"
                    )
        said = {mention.object for text in references for mention in table.find(text)}
        return frozenset(said | {name for _, name in known if name is not None})


def _count(mentions: Sequence[ObjectMention], present: frozenset[str]) -> tuple[float, ...]:
    named = {mention.object for mention in mentions}
    hallucinated = sum(mention.object not in present for mention in mentions)
    return (hallucinated, len(mentions), hallucinated > 0, 1, len(named), len(named & present), len(present))


def _evidence(mentions: Sequence[ObjectMention], present: frozenset[str]) -> dict[str, Any]:
    spans = [Span(m.start, m.end, m.object, "right" if m.object in present else "wrong") for m in mentions]
    missed = sorted(present - {mention.object for mention in mentions})
    hallucinated = sum(span.status == "wrong" for span in spans)
    return {"spans": spans, "missed": missed, "hallucinated": hallucinated, "mentions": len(spans)}
