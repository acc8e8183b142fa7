"""The one way to measure: captions of several systems on the same samples with the same scorers, and compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from capwright.evaluation.compare import against_first, compare_headlines
from capwright.evaluation.config import MeasureConfig, Ruler, leave_out, prepare
from capwright.evaluation.evaluate import CaptionRows, evaluate
from capwright.evaluation.results import Evaluation
from capwright.evaluation.scoring import Scoring
from capwright.types import NotInstalledError, Sample, ScorerError

#: progress(system, done, total)
SystemProgress = Callable[[str, int, int], None]


def measure_systems(
    samples: Sequence[Sample],
    systems: Mapping[str, Mapping[str, CaptionRows]],
    config: MeasureConfig,
    *,
    rulers: Sequence[Ruler] | None = None,
    pairs: Iterable[tuple[str, str]] | None = None,
    absent: Mapping[str, str] | None = None,
    progress: SystemProgress | None = None,
) -> Scoring:
    """Measure systems with all scorers of the configuration that are installed.

    Args:
        samples: what the captions are of.
        systems: name -> captions by id, see `evaluate`.
        config: how to measure.
        rulers: scorers with contexts (`prepare_scorers`), in place of those of the configuration.
        pairs: systems (a, b) whose headlines are compared; by default all are compared with the first, as
            `config.comparisons` says.
        absent: scorers that are known not to be installed, with the reasons.
        progress: called with (system, done, total).

    METEOR needs no Java for captions that it has measured before, and notices at a new one that there is none: then
    all is measured again without it.

    Raises:
        DataError: as `evaluate`. ScorerError: an unknown scorer or option, or nothing is left to measure with.
    """
    absent = dict(absent or {})
    left = list(rulers or ()) or prepare(samples, config.make_scorers(absent), config.vocabulary, absent)
    evaluations: list[Evaluation] = []
    while left and not evaluations:
        try:
            evaluations = [
                evaluate(samples, rows, left, config, name=name, progress=progress and partial(progress, name))
                for name, rows in systems.items()
            ]
        except NotInstalledError as error:
            name = next((s.spec.name for s, _ in left if str(error).startswith(f"{s.spec.name}:")), None)
            if name is None:
                raise
            leave_out(name, error, absent)
            left = [ruler for ruler in left if ruler[0].spec.name != name]
    if not evaluations:
        why = "".join(f"; {name}: {reason}" for name, reason in absent.items())
        raise ScorerError(f"there is nothing to measure with{why or '; name a scorer'}")
    if pairs is None and config.comparisons == "all":
        comparisons = against_first(evaluations, config.test)
    else:
        first, *others = systems
        comparisons = compare_headlines(evaluations, pairs or [(first, other) for other in others], config.test)
    trained: dict[str, Any] = {name: frozenset(scorers) for name, scorers in config.trained_on.items()}
    vocabulary = config.vocabulary if config.vocabulary is not None else getattr(samples, "vocabulary", None)
    return Scoring(
        tuple(evaluations), comparisons, samples, not_installed=absent, trained_on=trained, vocabulary=vocabulary
    )
