"""Scored captions as their page shows them: systems, their scores, how long captions are, and single images."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from capwright.evaluation.results import Evaluation, score_key
from capwright.evaluation.scoring import Scoring
from capwright.report.parts import Score, Sheet, System, make_system, system_tones
from capwright.scorers import SCORED
from capwright.scorers.fluency.length import count_words
from capwright.types import DataError, Sample


@dataclass(frozen=True)
class ScoredSystem(System):
    """A system with its evaluation; `words` [images] is the mean length of its captions of an image, NaN if unknown."""

    evaluation: Evaluation
    words: NDArray[np.float64]


@dataclass(frozen=True)
class ScoreSheet(Sheet):
    """Scored captions.

    Attributes:
        systems: as in `Sheet`, with their evaluations.
        samples: of all evaluations, in their order.
        reference_words: [images] mean length of the references of an image, NaN without references.
    """

    systems: tuple[ScoredSystem, ...]
    samples: Sequence[Sample]
    reference_words: NDArray[np.float64]

    @property
    def mean_reference_words(self) -> float | None:
        return _mean(self.reference_words)


def make_sheet(scoring: Scoring) -> ScoreSheet:
    """Gather what the page needs. Raises DataError when evaluations and samples do not belong together."""
    evaluations, samples = scoring.evaluations, scoring.samples
    if not evaluations:
        raise DataError("there is no evaluation to report; score at least one system")
    ids = tuple(sample.id for sample in samples)
    systems = []
    tones = system_tones([str(place) for place in range(1, len(evaluations) + 1)])
    for (place, tone), evaluation in zip(tones.items(), evaluations):
        if evaluation.ids != ids:
            raise DataError(
                f"{evaluation.name or 'the system'} was not measured on these samples in this order; give the report "
                "the samples of the evaluation"
            )
        name = evaluation.name or ("captions" if len(evaluations) == 1 else f"system {place}")
        trained_on, words = scoring.trained_on.get(evaluation.name, ()), _words(evaluation)
        base = make_system(evaluation.name, name, tone, evaluation.to_json(), trained_on)
        systems.append(ScoredSystem(**vars(replace(base, mean_words=_mean(words))), evaluation=evaluation, words=words))
    scores = _scores(evaluations)
    lengths = [_mean(np.array([count_words(text) for text in sample.references])) for sample in samples]
    lead = choose_lead(scores, {scorer for system in systems for scorer in system.trained_on})
    return ScoreSheet(tuple(systems), scores, lead, evaluations[0].level, samples, np.array(lengths, dtype=np.float64))


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


def values_of(system: ScoredSystem, score: Score) -> NDArray[np.float64]:
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
                headline = output == spec.headline
                told = headline or (output.startswith(name) and ":" not in output)
                better = {True: 1, False: -1, None: 0}[spec.higher_is_better] if told else 0
                key, ends = score_key(name, output), spec.range_of(output)
                found.setdefault((name, output), Score(key, name, output, headline, better, *ends, spec.unit, column))
    return tuple(found.values())


def _words(evaluation: Evaluation) -> NDArray[np.float64]:
    lengths = []
    for image in evaluation.per_image:
        texts = (image.caption, *image.others)
        lengths.append(sum(map(count_words, texts)) / len(texts) if image.status in SCORED else None)
    return np.array(lengths, dtype=np.float64)


def _mean(values: NDArray[np.float64]) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None
