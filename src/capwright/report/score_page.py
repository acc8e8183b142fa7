"""One page about scored captions: who leads, how sure that is, what length has to do with it, and which images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from capwright.data.alignment import Finding
from capwright.evaluation.results import Evaluation
from capwright.evaluation.scoring import Scoring
from capwright.report.cards import credits_of
from capwright.report.gallery import score_walls
from capwright.report.length_charts import scatters
from capwright.report.pages import render_page, write_page
from capwright.report.parts import (
    gains_by_score,
    name_of,
    read_comparisons,
    read_signatures,
    scale_of,
)
from capwright.report.score_headline import write_score_headline
from capwright.report.score_sheet import make_sheet
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
    against = [c for c in comparisons if c.a == sheet.systems[0].key]
    pair = len(sheet.systems) == 2
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
        gains=gains_by_score(sheet, tested, against, centered=pair),
        other_gains=gains_by_score(sheet, [score for score in sheet.scores if score not in tested], against, pair),
        pair=pair,
        corrected=sum(test.p_holm is not None for test in comparisons),
        scatters=scatters(sheet, lead) if lead is not None else [],
        divisions=[(d, scale_of(d.measures, lead)) for d in divide(sheet, lead)] if lead is not None else [],
        walls=walls,
        named=named,
        referenced=any(sample.references for sample in sheet.samples),
        signatures=read_signatures(document),
        credits=credits_of(walls),
    )
