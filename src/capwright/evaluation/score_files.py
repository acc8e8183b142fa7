"""Score captions against references: one call for one system, or for several with paired tests against the first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from capwright.data.alignment import Finding, check_alignment
from capwright.data.id_matching import match_ids
from capwright.data.predictions import read_predictions
from capwright.data.references import read_references
from capwright.evaluation.compare import Comparison, adjust, compare
from capwright.evaluation.evaluate import evaluate
from capwright.evaluation.installed import make_installed, measure_installed
from capwright.evaluation.results import MOST_REASONS, Evaluation, ImageResult, score_key
from capwright.evaluation.stats.significance import TESTS
from capwright.scorers import Context, Scorer
from capwright.types import DataError, Sample, Vocabulary

#: What is measured when nothing else is asked for. METEOR needs Java and says so where there is none.
DEFAULT_SCORERS = ("bleu", "meteor", "rougeL", "ciderD", "length")
#: What becomes of an image that a system has no caption of.
MISSING_RULES = ("error", "skip", "empty")

CaptionSource = str | Path | Mapping[Any, Any] | Sequence[Any]
#: progress(system, done, total)
SystemProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Scoring:
    """All that was found about some systems.

    Attributes:
        evaluations: one a system, in the order given.
        comparisons: paired tests of every system against the first, all scores, p-values adjusted over all of them.
        samples: what was measured on: ids and references.
        findings: system -> what should be read before the numbers are trusted; also the warnings of its evaluation.
        not_installed: scorer -> why it could not be asked.
        trained_on: system -> scorers that it was trained on; their scores say how well training worked, not more.
        sources: system -> the file it was read from; "" for captions given in memory.
        vocabulary: of the domain; None when there is none.
    """

    evaluations: tuple[Evaluation, ...]
    comparisons: tuple[Comparison, ...]
    samples: Sequence[Sample]
    findings: Mapping[str, tuple[Finding, ...]]
    not_installed: Mapping[str, str]
    trained_on: Mapping[str, frozenset[str]] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    vocabulary: Vocabulary | None = None

    def to_json(self) -> dict[str, Any]:
        """{"systems": [...], "comparisons": [...], "not_installed": {...}, "images", "interval", "seed", "replicates",
        "level"}.

        A system is {"name", "file", "scores": {"bleu4": {"value", "low", "high", "signature"}, ...}, "images",
        "scored": {scorer: n}, "unknown": {status: n}, "unknown_by": {scorer: {status: n}},
        "unknown_why": {scorer: [{"reason", "images", "example"}, ...]}, "warnings": [...],
        "per_image": [{"id", "caption", "status", "scores": {"bleu4": ...}}, ...]}. "unknown" counts images without a
        usable caption, "unknown_by" also captions that the scorer could not measure. Unknown numbers are null; a scorer
        that is not installed has null and "note"; one that the system was trained on has "trained_on": true.
        """
        first = self.evaluations[0]
        return {
            "systems": [self._system(evaluation) for evaluation in self.evaluations],
            "comparisons": [c.to_json() | {"score": score_key(*c.score.split(".", 1))} for c in self.comparisons],
            "not_installed": dict(self.not_installed),
            "images": len(first.ids),
            "interval": first.method,
            "seed": first.seed,
            "replicates": first.replicates,
            "level": first.level,
        }

    def _system(self, evaluation: Evaluation) -> dict[str, Any]:
        name = evaluation.name
        scores: dict[str, Any] = {}
        for scorer, measured in evaluation.scores.items():
            mark = {"trained_on": True} if scorer in self.trained_on.get(name, ()) else {}
            for output, estimate in measured.estimates.items():
                scores[score_key(scorer, output)] = estimate.to_json() | {"signature": measured.signature} | mark
        for scorer, why in self.not_installed.items():
            scores[scorer] = {"value": None, "low": None, "high": None, "signature": None, "note": why}
        return {
            "name": name,
            "file": self.sources.get(name, ""),
            "scores": scores,
            "images": len(evaluation.ids),
            "scored": {scorer: int(measured.known.sum()) for scorer, measured in evaluation.scores.items()},
            "unknown": dict(evaluation.unknown),
            "unknown_by": {scorer: dict(measured.status) for scorer, measured in evaluation.scores.items()},
            "unknown_why": {
                scorer: one.reasons()[:MOST_REASONS] for scorer, one in evaluation.scores.items() if one.why
            },
            "warnings": list(evaluation.warnings),
            "per_image": [_image(result) for result in evaluation.per_image],
        }


def score(
    predictions: CaptionSource, references: CaptionSource, scorers: Iterable[str | Scorer] = DEFAULT_SCORERS, **how: Any
) -> Evaluation:
    """Measure the captions of one system; see `score_systems` for all options.

    >>> said = {"1": "a geoboard on a table"}
    >>> score(said, {"1": ["a geoboard on the table", "a board with pegs"]}, ["rougeL"]).estimate("rougeL").value
    0.8
    """
    return score_systems({"": predictions}, references, scorers, **how).evaluations[0]


def score_systems(
    systems: Mapping[str, CaptionSource],
    references: CaptionSource,
    scorers: Iterable[str | Scorer] = DEFAULT_SCORERS,
    *,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    tokenizer: str | None = None,
    split: str | None = None,
    images: str | Path | None = None,
    vocabulary: Vocabulary | None = None,
    missing: str = "error",
    trained_on: Mapping[str, Iterable[str]] | None = None,
    seed: int = 0,
    replicates: int = 1000,
    level: float = 0.95,
    method: str = "jackknife",
    cluster: str | None = None,
    test: str = "randomization",
    progress: SystemProgress | None = None,
) -> Scoring:
    """Measure captions of several systems on the same references with the same scorers.

    Args:
        systems: name -> predictions: a file, or what stands in one (see `capwright.data.predictions`).
        references: a file, a dataset, or what stands in one (see `capwright.data.references`).
        scorers: names or scorers.
        options: scorer name -> its options.
        tokenizer: for every scorer that has the option; "ptb" by default.
        split, images: of references that have splits; and the folder where images are, for the report.
        vocabulary: of the domain, for scorers that look for terms; by default that of the dataset.
        missing: what becomes of images without a caption: "error", "skip" (unknown, in no score), "empty" (scored as a
            caption without words).
        trained_on: see `Scoring`.
        seed, replicates, level, method, cluster: of the intervals, see `evaluate`.
        test: of the comparisons, see `compare`.
        progress: called with (system, done, total).

    Raises:
        DataError: files that cannot be read; captions and references that do not belong together, with the ids.
        ScorerError: an unknown scorer or option, or nothing of what was asked for is installed.
    """
    if not systems:
        raise DataError("there are no captions to score; name at least one file of predictions")
    if missing not in MISSING_RULES:
        raise DataError(f"missing must be one of {', '.join(MISSING_RULES)}, not {missing!r}")
    if test not in TESTS:
        raise DataError(f"test must be one of {', '.join(TESTS)}, not {test!r}")
    if images is not None and not Path(images).is_dir():
        raise DataError(f"{images}: is not a folder; name the folder of the images")
    samples = read_references(references, split=split, images_dir=images)
    said = {name: read_predictions(source) for name, source in systems.items()}
    made, absent = make_installed(scorers, options, tokenizer)
    findings = {}
    for name in systems:
        rows, renamed = match_ids(said[name], samples)
        findings[name] = _check(name, rows, samples, made, missing, tokenizer == "split")
        if renamed:
            text = f"no caption has the id of a sample as it stands; ids were matched by {renamed}"
            findings[name] = (Finding("warning", "renamed", text), *findings[name])
        said[name] = rows
        if missing == "empty":
            blank: dict[str, Any] = {sample.id: {"caption": "", "status": "empty"} for sample in samples}
            said[name] = blank | rows
    if vocabulary is None:
        vocabulary = getattr(samples, "vocabulary", None)

    def measure(rulers: Sequence[tuple[Scorer, Context]]) -> list[Evaluation]:
        found = []
        for name, rows in said.items():
            counted = None if progress is None else (lambda done, total, name=name: progress(name, done, total))
            found.append(
                evaluate(
                    samples,
                    rows,
                    rulers,
                    seed,
                    replicates,
                    name=name,
                    level=level,
                    method=method,
                    cluster=cluster,
                    progress=counted,
                )
            )
        return found

    measured, more = measure_installed(samples, made, vocabulary, measure)
    evaluations = [replace(one, warnings=tuple(f.message for f in findings[one.name])) for one in measured]
    absent |= more
    first, *others = evaluations
    comparisons = _adjusted([c for other in others for c in compare(first, other, test=test)], first)
    return Scoring(
        tuple(evaluations),
        comparisons,
        samples,
        findings,
        absent,
        {name: frozenset(found) for name, found in (trained_on or {}).items()},
        {name: str(source) if isinstance(source, (str, Path)) else "" for name, source in systems.items()},
        vocabulary,
    )


def _adjusted(comparisons: Sequence[Comparison], first: Evaluation) -> tuple[Comparison, ...]:
    """p-values corrected for their number, among the headlines of scorers that have a better direction.

    A length claims nothing, and the other numbers of a scorer (kinds of questions, tiers, shares) explain its headline:
    corrected with the rest, a few scorers with many parts would leave nothing of any p.
    """
    headlines = {
        f"{name}.{one.scorer.spec.headline}"
        for name, one in first.scores.items()
        if one.scorer.spec.higher_is_better is not None
    }
    claims = [c.score in headlines for c in comparisons]
    corrected = iter(adjust(c for c, claim in zip(comparisons, claims) if claim))
    return tuple(next(corrected) if claim else c for c, claim in zip(comparisons, claims))


def _check(
    name: str, rows: Mapping[str, Any], samples: Sequence[Sample], scorers: Sequence[Scorer], missing: str, split: bool
) -> tuple[Finding, ...]:
    """What is doubtful about captions; what would make scores wrong is raised, all in one error.

    `split`: texts are taken as tokenized, so that looking so is nothing to speak of.
    """
    needs = {need for scorer in scorers for need in scorer.spec.needs}
    excused = {"missing"} if missing != "error" else set()
    if "references" not in needs:
        excused.add("no_references")
    findings = [f for f in check_alignment(rows, samples) if not (split and f.kind == "tokenized")]
    errors = [f for f in findings if f.severity == "error" and f.kind not in excused]
    if errors:
        how = '; to score the others all the same: missing="skip" or "empty" (--missing skip)'
        texts = [f.message + (how if f.kind == "missing" else "") for f in errors]
        raise DataError("\n".join(f"{name}: {text}" if name else text for text in texts))
    if "several captions" in needs and not any(isinstance(said, list) for said in rows.values()):
        text = "every image has one caption, so how captions of one image differ is unknown; give several an image"
        findings.append(Finding("warning", "single", text))
    return tuple(findings)


def _image(result: ImageResult) -> dict[str, Any]:
    scores = {
        score_key(scorer, output): value for scorer, found in result.scores.items() for output, value in found.items()
    }
    more = {"captions": [result.caption, *result.others]} if result.others else {}
    return {"id": result.id, "caption": result.caption, **more, "status": result.status, "scores": scores}
