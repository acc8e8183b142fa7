"""What scorers share whose counting is left to sacrebleu: how it is loaded, and rows of captions and references."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

from capwright.scorers._words import ReferenceContext, count_references
from capwright.scorers.base import Corpus, Item, ItemStats, Scorer, references_of
from capwright.types import NotInstalledError, ScorerError

_STEPS = ("_preprocess_segment", "_extract_reference_info", "_compute_segment_statistics")


@dataclass(frozen=True)
class SacreBLEUContext(ReferenceContext):
    """Also the version of sacrebleu, for the signature."""

    sacrebleu: str


class SacreBLEUScorer(Scorer[SacreBLEUContext]):
    """Base of scorers that are metrics of sacrebleu; rows are its statistics of a segment, then 1."""

    context_type = SacreBLEUContext

    def prepare(self, corpus: Corpus) -> SacreBLEUContext:
        """Nothing is learned; references are counted for the signature. Raises DataError when there are none."""
        references = count_references(corpus, self.spec.name)
        content = [*astuple(self), self._version]  # type: ignore[call-overload]
        return self.make_context(content, references=references, sacrebleu=self._version)

    def measure(self, items: Sequence[Item], context: SacreBLEUContext) -> Iterator[ItemStats]:
        """The statistics of each caption and its references; unknown where a sample has none."""
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

    def fields(self, context: SacreBLEUContext) -> Mapping[str, object]:
        """The last fields of the signature."""
        return dict(refs=context.references, sacrebleu=context.sacrebleu)

    def _load(self, metric: str, **options: Any) -> None:
        """Find the metric of sacrebleu. Raises NotInstalledError without it, ScorerError for one that is too new."""
        name = self.spec.name
        try:
            sacrebleu = importlib.import_module("sacrebleu")
        except ImportError as error:
            raise NotInstalledError(f"{name}: not installed: pip install 'capwright[chrf]'") from error
        self._version, self._counter = sacrebleu.__version__, getattr(sacrebleu.metrics, metric)(**options)
        if not all(hasattr(self._counter, step) for step in _STEPS):
            raise ScorerError(
                f"{name}: sacrebleu {self._version} does not tell its counts; install 'sacrebleu>=2.4,<2.7'"
            )
