"""Everything the report of scored captions is about, in one place: systems, their scores, and how long captions are."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capwright.evaluation.results import Evaluation, score_key
from capwright.report.run_folder import Measure
from capwright.report.run_page import system_tones
from capwright.report.score_names import name_of
from capwright.scorers import SCORED, ScorerSpec
from capwright.scorers.fluency.length import count_words
from capwright.types import DataError, Sample


@dataclass(frozen=True, slots=True)
class Score:
    """One number of a scorer, and how it is written.

    Attributes:
        scorer, output: which number; `column` is its place in what `finalize` returns.
        unit: of the scorer: "item", "item|ctx" or "set".
        better: 1 when higher is better, -1 when lower is, 0 when neither is or it is not known: a scorer declares one
            direction, which is that of its headline and of outputs named after it (bleu1, chairS).
        low, high: its declared range.
    """

    scorer: str
    output: str
    column: int
    headline: bool
    unit: str
    better: int
    low: float
    high: float

    @property
    def key(self) -> str:
        """Its name in JSON: "bleu4", "tts.micro"."""
        return score_key(self.scorer, self.output)

    @property
    def name(self) -> str:
        """Its name for people."""
        return name_of(self.key)

    @property
    def digits(self) -> int:
        """Decimals: three up to a range of 10, one for percentages and counts."""
        return 3 if self.high <= 10 else 1

    def text(self, value: float | None) -> str:
        """A value as it is written; "unknown" when there is none."""
        return "unknown" if value is None else f"{value:,.{self.digits}f}".replace("-", "−")

    def signed(self, value: float | None) -> str:
        """A difference as it is written."""
        return "unknown" if value is None else f"{value:+,.{self.digits}f}".replace("-", "−")

    def span(self, measure: Measure) -> str:
        """Its interval; "" where there is none."""
        return f"{self.text(measure.low)} to {self.text(measure.high)}" if measure.has_interval else ""


@dataclass(frozen=True, slots=True)
class System:
    """What was scored. `words` [images] is the mean length of its captions of an image, NaN where unknown."""

    name: str
    tone: str
    evaluation: Evaluation
    trained_on: frozenset[str]
    words: NDArray[np.float64]

    @property
    def mean_words(self) -> float | None:
        return _mean(self.words)


@dataclass(frozen=True)
class Sheet:
    """The systems and scores of a page.

    Attributes:
        systems: in the order given; the first is what the others are compared with.
        samples: of all evaluations, in their order.
        scores: of all scorers, headlines and others.
        reference_words: [images] mean length of the references of an image, NaN without references.
        lead: the score that images and slices are about; None when no scorer gives an image a score.
    """

    systems: tuple[System, ...]
    samples: Sequence[Sample]
    scores: tuple[Score, ...]
    reference_words: NDArray[np.float64]
    lead: Score | None

    @property
    def mean_reference_words(self) -> float | None:
        return _mean(self.reference_words)

    @property
    def headlines(self) -> tuple[Score, ...]:
        """One score a scorer."""
        return tuple(score for score in self.scores if score.headline)

    def trained(self, score: Score) -> tuple[System, ...]:
        """The systems that were trained on what they are measured with."""
        return tuple(system for system in self.systems if score.scorer in system.trained_on)


def make_sheet(
    evaluations: Sequence[Evaluation], samples: Sequence[Sample], trained_on: Mapping[str, Collection[str]] | None
) -> Sheet:
    """Gather what the page needs. Raises DataError when evaluations and samples do not belong together."""
    if not evaluations:
        raise DataError("there is no evaluation to report; score at least one system")
    ids = tuple(sample.id for sample in samples)
    for evaluation in evaluations:
        if evaluation.ids != ids:
            raise DataError(
                f"{evaluation.name or 'the system'} was not measured on these samples in this order; give the report "
                "the samples of the evaluation"
            )
    tones = list(system_tones([str(place) for place in range(len(evaluations))]).values())
    systems = tuple(
        System(
            evaluation.name or ("captions" if len(evaluations) == 1 else f"system {place}"),
            tone,
            evaluation,
            frozenset((trained_on or {}).get(evaluation.name, ())),
            _words(evaluation),
        )
        for place, (evaluation, tone) in enumerate(zip(evaluations, tones), 1)
    )
    scores = _scores(evaluations)
    lengths = [_mean(np.array([count_words(text) for text in sample.references])) for sample in samples]
    trained = {scorer for system in systems for scorer in system.trained_on}
    return Sheet(systems, samples, scores, _floats(lengths), choose_lead(scores, trained))


def choose_lead(scores: Sequence[Score], trained: Collection[str]) -> Score | None:
    """CIDEr-D where it was measured, else the first headline that single images have.

    Scores that were not trained on come first, then those with a better direction. BLEU comes last: on most single
    captions it is nearly 0.
    """
    found = [score for score in scores if score.headline and score.unit != "set"]
    return min(
        found,
        key=lambda s: (s.scorer in trained, s.better == 0, s.scorer != "ciderD", s.scorer == "bleu"),
        default=None,
    )


def measure_of(system: System, score: Score) -> Measure:
    """A system's score with its interval; unknown where it was not measured."""
    measured = system.evaluation.scores.get(score.scorer)
    estimate = measured.estimates.get(score.output) if measured is not None else None
    return Measure() if estimate is None else Measure(estimate.value, estimate.low, estimate.high)


def values_of(system: System, score: Score) -> NDArray[np.float64]:
    """The score of every single image [images]; NaN where unknown."""
    measured = system.evaluation.scores.get(score.scorer)
    if measured is None or score.unit == "set":
        return np.full(len(system.evaluation.ids), np.nan)
    values = measured.scorer.finalize(measured.rows)[:, score.column]
    return np.where(measured.known & np.isfinite(values), values, np.nan)


def _scores(evaluations: Sequence[Evaluation]) -> tuple[Score, ...]:
    found: dict[tuple[str, str], Score] = {}
    for evaluation in evaluations:
        for name, measured in evaluation.scores.items():
            spec = measured.scorer.spec
            for column, output in enumerate(measured.context.outputs):
                found.setdefault((name, output), _score(name, spec, output, column))
    return tuple(found.values())


def _score(scorer: str, spec: ScorerSpec, output: str, column: int) -> Score:
    headline = output == spec.headline
    told = headline or (output.startswith(scorer) and ":" not in output)
    better = {True: 1, False: -1, None: 0}[spec.higher_is_better] if told else 0
    return Score(scorer, output, column, headline, spec.unit, better, *spec.range_of(output))


def _words(evaluation: Evaluation) -> NDArray[np.float64]:
    lengths: list[float | None] = []
    for image in evaluation.per_image:
        texts = (image.caption, *image.others)
        lengths.append(sum(map(count_words, texts)) / len(texts) if image.status in SCORED else None)
    return _floats(lengths)


def _floats(values: Sequence[float | None]) -> NDArray[np.float64]:
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def _mean(values: NDArray[np.float64]) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None
