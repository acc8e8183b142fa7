"""Captions of a dataset measured by any scorer that needs no reference: those out of bounds are left out, or marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from itertools import islice
from typing import Any, Literal

import numpy as np
from pydantic import Field, PrivateAttr, model_validator

from capwright.curation.base import UNDEFINED, Step, StepDecision
from capwright.scorers import SCORED, Corpus, Item, Scorer, get_scorer
from capwright.scorers.registry import options_of
from capwright.types import CapwrightError, DataError, Sample, ScorerError

#: The key of `meta` under which marks stand: "scorer.output" -> {values, good}, one entry a reference in both lists.
MARKS = "caption_filter"


class CaptionFilter(Step):
    """Measures the references of samples, and leaves out, or marks, those whose value is out of bounds.

    A reference without a value (0/0, a judge that failed) is unknown: it is counted, and stays. A sample that had
    references and has none left is left out; one that never had any stays.

    Raises:
        DataError: no bound is given, or the scorer gives a single caption no value, or compares it with references.
        ScorerError: there is no such scorer, option or output, or it fails.
    """

    name = "caption_filter"
    whole = True
    scorer: str = Field(description="name of the scorer")
    options: dict[str, Any] = Field(default_factory=dict, description="of the scorer")
    output: str | None = Field(None, description="which of its numbers; null: its headline")
    at_least: float | None = Field(None, description="lowest value that is good; null: no bound")
    at_most: float | None = Field(None, description="highest value that is good; null: no bound")
    action: Literal["drop", "mark"] = Field("drop", description="mark: all stay, with their values in meta")
    unknown: Literal["keep", "drop"] = Field("keep", description="what becomes of references without a value")
    judge: Any = Field(None, description="of a scorer that asks one")
    _context: Any = PrivateAttr(None)

    @model_validator(mode="after")
    def _usable(self) -> CaptionFilter:
        if self.at_least is None and self.at_most is None:
            raise ValueError("give at_least, at_most or both")
        if "judge" in self.options:
            raise ValueError("give the judge beside options, not in them")
        _ = self.measurer  # what is wrong with the scorer or its options shows now
        return self

    @cached_property
    def measurer(self) -> Scorer[Any]:
        """The scorer."""
        asks = self.judge is not None and "judge" in options_of(self.scorer)
        made = get_scorer(self.scorer, **({"judge": self.judge} if asks else {}), **self.options)
        unfit = {"references", "several captions"}.intersection(made.spec.needs)
        if unfit or made.spec.unit == "set":
            raise DataError(
                f"{self.scorer}: measures captions by {min(unfit, default='the set they are in')}, and here each "
                "reference is measured by itself; name another scorer, such as length, readability or tts"
            )
        return made

    @property
    def signature(self) -> str:
        return super().signature + (f"|by:{self.measurer.signature(self._context)}" if self._context else "")

    def prepare(self, corpus: Corpus) -> str:
        self._context = self.measurer.prepare(corpus)
        if self._output not in self._context.outputs:
            outputs = ", ".join(self._context.outputs)
            raise ScorerError(f"{self.scorer}: has no output {self.output!r}; it has {outputs}")
        return f"{self._context.fingerprint} {self.measurer.signature(self._context)}"

    def decide(self, samples: Sequence[Sample]) -> list[StepDecision]:
        measured = iter(self._measure([Item(sample, text) for sample in samples for text in sample.references]))
        decisions = []
        for sample in samples:
            values, statuses = zip(*islice(measured, len(sample.references))) if sample.references else ((), ())
            good = [self._is_good(value) for value in values]
            drop = "" if any(good) or not good or self.action == "mark" else "no caption is good"
            status = next((status for status in statuses if status != "ok"), "ok")
            decisions.append(StepDecision(status, drop=drop, data={"values": list(values), "good": good}))
        return decisions

    def apply(self, sample: Sample, decision: StepDecision) -> Sample:
        values, good = decision.data["values"], decision.data["good"]
        if self.action == "drop":
            return replace(sample, references=tuple(text for text, stays in zip(sample.references, good) if stays))
        marks = {**sample.meta.get(MARKS, {}), f"{self.scorer}.{self._output}": {"values": values, "good": good}}
        return replace(sample, meta={**sample.meta, MARKS: marks})

    @property
    def _output(self) -> str:
        return self.output or self.measurer.spec.headline

    def _is_good(self, value: float | None) -> bool:
        if value is None:
            return self.unknown == "keep"
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)

    def _measure(self, items: Sequence[Item]) -> list[tuple[float | None, str]]:
        """(value, "ok") of each caption, or (None, why there is none)."""
        if not items:
            return []
        try:
            stats = self.measurer.stats(items, self._context)
            rows, known = stats.by_item(len(items))
            scores = self.measurer.finalize(rows)[:, self._context.outputs.index(self._output)]
        except CapwrightError:
            raise
        except Exception as error:
            raise ScorerError(f"{self.scorer}: failed on {len(items)} captions: {error}") from error
        failed = {owner: status for owner, status in zip(stats.owner.tolist(), stats.status) if status not in SCORED}
        sure = known & np.isfinite(scores)
        return [(float(scores[i]), "ok") if sure[i] else (None, failed.get(i, UNDEFINED)) for i in range(len(items))]
