"""One page about scored captions: who leads, how sure that is, what length has to do with it, and the images behind it.

The page is a single HTML file with its images, charts and style inside. It needs no script and no network, follows
the reader's light or dark setting, and the same inputs give the same bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from capwright.evaluation.compare import Comparison
from capwright.evaluation.results import Evaluation
from capwright.report.charts import interval_bar
from capwright.report.headline import count, p_value
from capwright.report.pages import render_page, write_page
from capwright.report.run_folder import Measure
from capwright.report.run_page import credits_of
from capwright.report.score_charts import scale_of, scatters
from capwright.report.score_gallery import build_walls
from capwright.report.score_headline import Tests, is_clear, tests_of, write_score_headline
from capwright.report.score_names import name_of
from capwright.report.score_sheet import Score, Sheet, make_sheet, measure_of
from capwright.report.slices import Division, divide
from capwright.report.term_marks import term_matcher
from capwright.types import Sample, Vocabulary


@dataclass(frozen=True, slots=True)
class Cell:
    """A value of one system, with its interval drawn; `note` stands under it ("trained on this", "n = 40")."""

    system: str
    tone: str
    value: str
    span: str
    bar: Markup
    note: str = ""
    trained: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """A row of a table of cells."""

    name: str
    cells: tuple[Cell, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Test:
    """A paired comparison with the first system as a row of the page."""

    name: str
    tone: str
    bar: Markup
    gain: str
    span: str
    verdict: str
    clear: bool
    p: str
    more: str
    trained: bool


def write_score_report(
    out: str | Path,
    evaluations: Sequence[Evaluation],
    samples: Sequence[Sample],
    *,
    comparisons: Iterable[Comparison] = (),
    title: str = "",
    limit: int = 24,
    trained_on: Mapping[str, Collection[str]] | None = None,
    vocabulary: Vocabulary | None = None,
    findings: Sequence[str] = (),
    not_installed: Mapping[str, str] | None = None,
) -> Path:
    """Write the report of scored captions.

    Args:
        out: the file to write, or a folder, where it becomes report.html.
        evaluations: one a system, of the same samples with the same scorers; the others are compared with the first.
        samples: what was measured, in the order of the evaluations.
        comparisons: paired tests; those against the first system are shown.
        title: what the page is about; the names of the systems when empty.
        limit: how many images are shown at most.
        trained_on: system -> names of the scorers it was trained on; they are marked and do not lead.
        vocabulary: names to look for in captions, where samples have terms; by default those of the samples.
        findings: what should be read before the numbers are trusted.
        not_installed: scorer -> why it was not measured.

    Returns:
        The path of the page.

    Raises:
        DataError: no evaluation, other samples than were measured, or the page cannot be written.
    """
    sheet = make_sheet(evaluations, samples, trained_on)
    path = Path(out) / "report.html" if Path(out).is_dir() else Path(out)
    name = title or " · ".join(system.name for system in sheet.systems)
    return write_page(path, render(sheet, list(comparisons), name, limit, vocabulary, findings, not_installed or {}))


def render(
    sheet: Sheet,
    comparisons: Sequence[Comparison],
    title: str,
    limit: int,
    vocabulary: Vocabulary | None,
    findings: Sequence[str],
    not_installed: Mapping[str, str],
) -> str:
    """The page as text."""
    tests = tests_of(sheet, comparisons)
    named = any(sample.terms for sample in sheet.samples)
    walls = build_walls(sheet, term_matcher(sheet.samples, vocabulary) if named else None, limit)
    main = [score for score in sheet.scores if _is_main(score)]
    rest = [score for score in sheet.scores if score not in main]
    lead = sheet.lead
    return render_page(
        "score.html.jinja",
        {},
        title=title,
        headline=write_score_headline(sheet, comparisons, findings, not_installed),
        systems=sheet.systems,
        images=len(sheet.samples),
        level=sheet.systems[0].evaluation.level,
        method=sheet.systems[0].evaluation.method,
        lead=lead,
        lead_line=_line(sheet, lead) if lead is not None else None,
        words=[_one(system.mean_words) for system in sheet.systems],
        reference_words=_one(sheet.mean_reference_words),
        table=[_line(sheet, score) for score in main],
        rest=[_line(sheet, score, drawn=False) for score in rest],
        not_installed={name_of(scorer): why for scorer, why in not_installed.items()},
        tests=_tests(sheet, tests, [score for score in main if score.headline]),
        other_tests=_tests(sheet, tests, [s for s in sheet.scores if s not in main or not s.headline]),
        corrected=sum(test.p_holm is not None for test in comparisons),
        scatters=scatters(sheet, lead) if lead is not None else [],
        divisions=[(d, _division(sheet, lead, d)) for d in (divide(sheet, lead) if lead is not None else [])],
        walls=walls,
        named=named,
        referenced=any(sample.references for sample in sheet.samples),
        signatures=_signatures(sheet),
        credits=credits_of(card for wall in walls for card in wall.cards),
    )


def _is_main(score: Score) -> bool:
    """Whether a score has a row in the first table: headlines, and numbers that go by their own name (bleu1)."""
    if ":" in score.output or score.scorer == "length":
        return False
    return score.headline or score.key == score.output


def _line(sheet: Sheet, score: Score, drawn: bool = True) -> Line:
    measures = [measure_of(system, score) for system in sheet.systems]
    trained = sheet.trained(score)
    low, high = scale_of(measures, score)
    cells = []
    for system, measure in zip(sheet.systems, measures):
        known = system.evaluation.scores.get(score.scorer)
        missing = len(sheet.samples) - int(known.known.sum()) if known is not None and score.unit != "set" else 0
        cells.append(
            Cell(
                system.name,
                system.tone,
                score.text(measure.value),
                score.span(measure),
                interval_bar(measure, system.tone, low, high) if drawn else Markup(""),
                f"{count(missing, 'image')} unknown" if missing and measure.known else "",
                system in trained,
            )
        )
    note = {-1: "lower is better", 0: "", 1: ""}[score.better]
    return Line(score.name, tuple(cells), note)


def _tests(sheet: Sheet, tests: Tests, scores: Sequence[Score]) -> list[tuple[str, list[Test]]]:
    """Rows with their headings: of two systems one list of scores, of more a list of systems for each score."""
    pair = len(sheet.systems) == 2
    groups: list[tuple[str, list[Test]]] = []
    for score in scores:
        found = [
            (system, test)
            for system in sheet.systems[1:]
            if (test := tests.get((system.evaluation.name, f"{score.scorer}.{score.output}"))) is not None
        ]
        ends = [v for _, t in found for v in (t.difference, t.low, t.high) if v is not None]
        reach = 1.05 * max(map(abs, ends), default=0.0) or 1.0
        trained = sheet.trained(score)
        rows = []
        for system, test in found:
            measure = Measure(test.difference, test.low, test.high)
            rows.append(
                Test(
                    score.name if pair else system.name,
                    "" if pair else system.tone,
                    interval_bar(measure, system.tone, -reach, reach, zero=0),
                    score.signed(test.difference),
                    f"{score.signed(test.low)} to {score.signed(test.high)}" if measure.has_interval else "",
                    *_verdict(test, score, sheet.systems[0].evaluation.level),
                    p_value(test.p if test.p_holm is None else test.p_holm),
                    _more(test, score),
                    system in trained or sheet.systems[0] in trained,
                )
            )
        if rows and pair and groups:
            groups[0][1].extend(rows)
        elif rows:
            groups.append(("" if pair else score.name, rows))
    return groups


def _verdict(test: Comparison, score: Score, level: float) -> tuple[str, bool]:
    if test.difference is None or (test.p is None and test.low is None):
        return "unknown", False
    if not is_clear(test, level):
        return "may be chance", False
    up = test.difference > 0
    if score.better:
        return f"clearly {'better' if up == (score.better > 0) else 'worse'}", True
    return f"clearly {'higher' if up else 'lower'}", True


def _more(test: Comparison, score: Score) -> str:
    """Single images, and what so many images could have shown."""
    parts = []
    if test.wins is not None and test.losses is not None:
        tied = f", {test.ties:,} the same" if test.ties else ""
        parts.append(f"higher on {test.wins:,} images, lower on {test.losses:,}{tied}")
    if test.detectable is not None:
        parts.append(f"{test.images:,} images can show a true difference of {score.text(test.detectable)}")
    return "; ".join(parts)


def _division(sheet: Sheet, score: Score | None, division: Division) -> list[Line]:
    if score is None:
        return []
    low, high = scale_of([measure for part in division.parts for measure, _ in part.measures], score)
    lines = []
    for part in division.parts:
        cells = tuple(
            Cell(
                system.name,
                system.tone,
                score.text(measure.value),
                score.span(measure),
                interval_bar(measure, system.tone, low, high),
                f"of {count(n, 'image')}" if n != len(part.images) else "",
            )
            for system, (measure, n) in zip(sheet.systems, part.measures)
        )
        lines.append(Line(part.name, cells, count(len(part.images), "image")))
    return lines


def _signatures(sheet: Sheet) -> list[tuple[str, str]]:
    """Scorer and signature; where systems were measured differently, each signature once."""
    pairs = [(name, one.signature) for system in sheet.systems for name, one in system.evaluation.scores.items()]
    return list(dict.fromkeys(pairs))


def _one(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.1f}"
