"""Score captions against references: one call for one system, or for several with paired tests against the first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from capwright.data.alignment import Finding, check_alignment
from capwright.data.dataset import ids_of
from capwright.data.id_matching import match_ids
from capwright.data.model_text import residue, without_residue
from capwright.data.predictions import read_predictions
from capwright.data.references import read_references
from capwright.evaluation.config import DEFAULT_SCORERS, Absent, CaptionSource, MeasureConfig, with_settings
from capwright.evaluation.evaluate import SystemProgress, measure_systems
from capwright.evaluation.results import Evaluation
from capwright.evaluation.scoring import Scoring
from capwright.scorers import Scorer
from capwright.types import DataError, Sample


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
    scorers: Iterable[str | Scorer] | None = None,
    config: MeasureConfig | None = None,
    *,
    split: str | None = None,
    images: str | Path | None = None,
    progress: SystemProgress | None = None,
    **settings: Any,
) -> Scoring:
    """Measure captions of several systems on the same references with the same scorers.

    Args:
        systems: name -> predictions: a file, or what stands in one (see `capwright.data.predictions`).
        references: a file, a dataset, or what stands in one (see `capwright.data.references`).
        scorers: names or scorers, in place of those of the configuration; `DEFAULT_SCORERS` without either.
        config: how to measure. Without one a missing caption is an error.
        split, images: of references that have splits; and the folder where images are, for the report.
        progress: called with (system, done, total).
        settings: fields of `MeasureConfig` by name: `options`, `tokenizer`, `vocabulary`, `missing`, `trained_on`,
            `seed`, `replicates`, `level`, `method`, `cluster`, `test` ...

    Raises:
        DataError: files that cannot be read; captions and references that do not belong together, with the ids.
        ScorerError: an unknown scorer or option, or nothing of what was asked for is installed.
        TypeError: an unknown setting.
    """
    if scorers is not None:
        settings["scorers"] = tuple(scorers)
    config = with_settings(config or MeasureConfig(scorers=DEFAULT_SCORERS, missing="error"), settings)
    if not systems:
        raise DataError("there are no captions to score; name at least one file of predictions")
    if images is not None and not Path(images).is_dir():
        raise DataError(f"{images}: is not a folder; name the folder of the images")
    samples = read_references(references, split=split, images_dir=images)
    said, findings = {}, {}
    absent: Absent = {}
    made = config.make_scorers(absent)
    needs = {need for scorer in made for need in scorer.spec.needs}
    for name, source in systems.items():
        rows, renamed = match_ids(read_predictions(source), samples)
        stripped = 0
        if config.strip:
            rows, stripped = _stripped(rows)
        findings[name] = _check(name, rows, samples, needs, config)
        if renamed:
            text = f"no caption has the id of a sample as it stands; ids were matched by {renamed}"
            findings[name] = (Finding("warning", "renamed", text), *findings[name])
        if stripped:
            text = f"{stripped:,} captions are measured without what was a model's and no caption (strip)"
            findings[name] = (*findings[name], Finding("warning", "stripped", text))
        blank: dict[str, Any] = {}
        if config.missing == "empty":
            blank = {id: {"caption": "", "status": "empty"} for id in ids_of(samples)}
        said[name] = blank | rows
    config = replace(config, scorers=made, options={})
    scoring = measure_systems(samples, said, config, absent=absent, progress=progress)
    told = {one.name: tuple(finding.message for finding in findings[one.name]) for one in scoring.evaluations}
    return replace(
        scoring,
        evaluations=tuple(replace(one, warnings=told[one.name]) for one in scoring.evaluations),
        findings=findings,
        sources={name: str(source) if isinstance(source, (str, Path)) else "" for name, source in systems.items()},
    )


def _stripped(rows: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """Rows whose captions are without residue, and how many captions had some."""
    changed = 0

    def strip(row: Mapping[str, Any]) -> Mapping[str, Any]:
        nonlocal changed
        if row["status"] != "ok" or not residue(row["caption"]):
            return row
        changed += 1
        caption = without_residue(row["caption"])
        return {**row, "caption": caption, "status": "ok" if caption else "empty"}

    found = {id: [strip(row) for row in said] if isinstance(said, list) else strip(said) for id, said in rows.items()}
    return found, changed


def _check(
    name: str, rows: Mapping[str, Any], samples: Sequence[Sample], needs: set[str], config: MeasureConfig
) -> tuple[Finding, ...]:
    """What is doubtful about captions; what would make scores wrong is raised, all in one error."""
    ignored = {
        kind for kind, need in {"no_references": "references", "inflected": "terms"}.items() if need not in needs
    }
    if config.tokenizer == "split":  # texts are taken as tokenized, so that looking so is nothing to speak of
        ignored.add("tokenized")
    findings = [f for f in check_alignment(rows, samples, config.tokenizer) if f.kind not in ignored]
    excused = "missing" if config.missing != "error" else ""
    errors = [f for f in findings if f.severity == "error" and f.kind != excused]
    if errors:
        how = '; to score the others all the same: missing="skip" or "empty" (--missing skip)'
        texts = [f.message + (how if f.kind == "missing" else "") for f in errors]
        raise DataError("\n".join(f"{name}: {text}" if name else text for text in texts))
    if "several captions" in needs and not any(isinstance(said, list) for said in rows.values()):
        text = "every image has one caption, so how captions of one image differ is unknown; give several an image"
        findings.append(Finding("warning", "single", text))
    return tuple(findings)
