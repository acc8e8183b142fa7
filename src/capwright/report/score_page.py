"""One page about scored captions: who leads, how sure that is, what length has to do with it, and which images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from capwright.data.alignment import Finding
from capwright.evaluation.compare import Comparison
from capwright.evaluation.results import Evaluation
from capwright.evaluation.scoring import Scoring
from capwright.report.cards import credits_of
from capwright.report.gallery import score_walls
from capwright.report.length_charts import scatters
from capwright.report.pages import render_page, write_page
from capwright.report.parts import (
    Gain,
    Score,
    gains_by_score,
    name_of,
    read_comparisons,
    read_signatures,
    scale_of,
)
from capwright.report.score_headline import write_score_headline
from capwright.report.score_sheet import ScoreSheet, make_sheet
from capwright.report.slices import divide
from capwright.report.term_marks import term_matcher
from capwright.types import Sample


def write_score_report(
    out: str | Path,
    scoring: Scoring | Sequence[Evaluation],
    samples: Sequence[Sample] | None = None,
    *,
    title: str = "",
    limit: int = 24,
    **known: Any,
) -> Path:
    """Write the report of scored captions.

    Args:
        out: the file to write, or a folder, where it becomes report.html.
        scoring: what was measured (`score_systems`, `measure_systems`), or evaluations, one a system, of the same
            samples with the same scorers; the others are compared with the first.
        samples: of evaluations, what was measured, in their order.
        title: what the page is about; the names of the systems when empty.
        limit: how many images are shown at most.
        known: of evaluations, what else is known, as fields of `Scoring`: `comparisons`, `trained_on`, `vocabulary`,
            `findings` (also as texts), `not_installed`.

    Returns:
        The path of the page.

    Raises:
        DataError: no evaluation, other samples than were measured, or the page cannot be written. TypeError: something
            else is said to be known.
    """
    if not isinstance(scoring, Scoring):
        texts = known.pop("findings", ())
        findings = texts if isinstance(texts, Mapping) else {"": tuple(Finding("warning", "", text) for text in texts)}
        known["comparisons"] = tuple(known.get("comparisons", ()))
        scoring = Scoring(tuple(scoring), samples=list(samples or ()), findings=findings, **known)
    path = Path(out) / "report.html" if Path(out).is_dir() else Path(out)
    return write_page(path, render(scoring, title, limit))


def render(scoring: Scoring, title: str, limit: int) -> str:
    """The page as text."""
    sheet = make_sheet(scoring)
    document = scoring.to_json(per_image=False)
    comparisons = read_comparisons(document)
    findings = [
        f"{name}: {finding.message}" if name else finding.message
        for name, found in scoring.findings.items()
        for finding in found
    ]
    named = any(sample.terms for sample in sheet.samples)
    walls = score_walls(sheet, term_matcher(sheet.samples, scoring.vocabulary) if named else None, limit)
    main = [score for score in sheet.scores if score.is_main]
    rest = [score for score in sheet.scores if not score.is_main]
    lead = sheet.lead
    tested = [score for score in main if score.headline]
    return render_page(
        "score.html.jinja",
        title=title or " · ".join(system.name for system in sheet.systems),
        sheet=sheet,
        headline=write_score_headline(sheet, comparisons, findings, scoring.not_installed),
        images=len(sheet.samples),
        method=sheet.systems[0].evaluation.method,
        table=main,
        rest=rest,
        trained=any(map(sheet.trained, main)),
        not_installed={name_of(scorer): why for scorer, why in scoring.not_installed.items()},
        gains=_gains(sheet, tested, comparisons),
        other_gains=_gains(sheet, [score for score in sheet.scores if score not in tested], comparisons),
        corrected=sum(test.p_holm is not None for test in comparisons),
        scatters=scatters(sheet, lead) if lead is not None else [],
        divisions=[(d, scale_of(d.measures, lead)) for d in divide(sheet, lead)] if lead is not None else [],
        walls=walls,
        named=named,
        referenced=any(sample.references for sample in sheet.samples),
        signatures=read_signatures(document),
        credits=credits_of(walls),
    )


def _gains(
    sheet: ScoreSheet, scores: Sequence[Score], comparisons: Sequence[Comparison]
) -> list[tuple[str, list[Gain]]]:
    """Rows with their headings: of two systems one list of scores, of more a list of systems for each score."""
    first = sheet.systems[0].key
    against = [c for c in comparisons if c.a == first]
    pair = len(sheet.systems) == 2
    found = gains_by_score(sheet, scores, against, centered=pair)
    groups = [(name, [replace(gain, against="") for gain in gains]) for name, gains in found]
    if not pair:
        return groups
    rows = [replace(gain, name=name, tone="") for name, gains in groups for gain in gains]
    return [("", rows)] if rows else []
