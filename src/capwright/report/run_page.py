"""One page that shows a run: what happened, how sure we are, and what the captioners actually say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from capwright.report.cards import Matcher, credits_of
from capwright.report.curves import STATES, group_states, probe_curve, reward_curve
from capwright.report.gallery import run_walls
from capwright.report.headline import write_headline
from capwright.report.pages import render_page, write_page
from capwright.report.parts import (
    WORDS,
    Score,
    as_estimate,
    gains_by_score,
    make_gains,
    mappings,
    number,
    read_comparisons,
    read_signatures,
)
from capwright.report.run_folder import RunFolder, read_run
from capwright.report.run_sheet import TTS, RunSheet, read_sheet
from capwright.report.term_marks import term_matcher
from capwright.types import Sample, Vocabulary


def write_report(
    run_dir: str | Path,
    samples: Sequence[Sample],
    out: str | Path | None = None,
    title: str | None = None,
    limit: int = 24,
    *,
    vocabulary: Vocabulary | None = None,
    things: str = "things",
) -> Path:
    """Write the report of a run.

    Args:
        run_dir: a run folder; any of summary.json, metrics.jsonl, captions/*.jsonl, recipe.yaml may be missing.
        samples: the images that were captioned, with their terms; needed for the gallery and for unknown counts.
        out: where to write; `run_dir/report.html` when None.
        title: the name of the run on the page; the folder's name when None.
        limit: how many images the gallery shows at most.
        vocabulary: the names to look for in captions; when None, `samples.vocabulary` where there is one, else the
            terms of the samples.
        things: what is named, in the plural, for the headline ("teaching toys").

    Returns:
        The path of the page.

    Raises:
        DataError: the run folder is missing, empty or broken, or the page cannot be written.
    """
    vocabulary = vocabulary if vocabulary is not None else getattr(samples, "vocabulary", None)
    samples = list(samples)
    sheet = read_sheet(read_run(run_dir), [sample.id for sample in samples], things)
    match = term_matcher(samples, vocabulary)
    page = render(sheet, samples, title or Path(run_dir).resolve().name, limit, match)
    return write_page(Path(out) if out is not None else Path(run_dir) / "report.html", page)


def render(sheet: RunSheet, samples: Sequence[Sample], title: str, limit: int, match: Matcher | None) -> str:
    """The page as text."""
    run, lead = sheet.run, sheet.lead
    assert lead is not None
    walls, absent = run_walls(sheet, samples, match, limit)
    comparisons = read_comparisons(run.summary)
    others = [score for score in sheet.scores if score.key != lead.key]
    shown = [score for score in sheet.scores if score.scorer not in ("tts", "length")]
    main = [score for score in sheet.scores if score.key == TTS and shown] + [s for s in shown if s.is_main]
    return render_page(
        "run.html.jinja",
        title=title,
        sheet=sheet,
        run=run,
        headline=write_headline(sheet, comparisons),
        waffles=[system for system in sheet.systems if system.find(TTS).known],
        columns=WORDS["columns"],
        table=main,
        rest=[score for score in shown if score not in main],
        gains=make_gains(sheet, lead, comparisons),
        other_gains=gains_by_score(sheet, others, comparisons),
        figures=(reward_curve(run), probe_curve(run, lead.key)),
        states=group_states(run),
        meanings=STATES.items(),
        to_name=_names_by_tier(samples),
        orders=_orders(run),
        walls=walls,
        absent=absent,
        searched=match is not None,
        credits=credits_of(walls),
        images=len(samples),
        times={system.key: _training_time(run, system.key) for system in sheet.systems},
        signatures=read_signatures(run.summary),
        facts=_flat({**run.facts, **{key: run.summary.get(key) or {} for key in ("benchmark", "versions")}}),
    )


def _names_by_tier(samples: Sequence[Sample]) -> Counter[str]:
    """How many names of each tier there are to say."""
    named = ({term.name: term.tier for term in sample.terms if term.level == "professional"} for sample in samples)
    return Counter(tier for tiers in named for tier in tiers.values())


def _orders(run: RunFolder) -> list[tuple[str, str, list[tuple[str, str, str]]]]:
    """What orders in captions did to scores: (order, score, cells); a cell is (title, value, interval)."""
    rows = []
    for row in mappings(run.summary.get("injection")):
        images, unknown, change = number(row.get("images")), number(row.get("unknown")), as_estimate(row.get("change"))
        score = Score("", "", "", True, high=100 if abs(number(row.get("clean")) or 0) > 10 else 1)
        every = None if images is None or unknown is None else images + unknown
        cells = [("Change of its own caption", score.signed(change.value), score.span(change, signed=True))]
        for title, part, total in (
            ("Own changed", row.get("changed"), images),
            ("Unknown", unknown, every),
            ("Others changed", row.get("others_changed"), number(row.get("others"))),
        ):
            n = number(part)
            text = "unknown" if n is None or total is None else f"{n:,.0f} of {total:,.0f}"
            cells.append((title, text, ""))
        rows.append((str(row.get("attack", "")), str(row.get("score", "")), cells))
    return rows


def _training_time(run: RunFolder, system: str) -> str:
    seconds = number(run.block(system).get("seconds"))
    if seconds is None or system == "base":
        return ""
    return f"trained in {seconds:.0f} s" if seconds < 120 else f"trained in {seconds / 60:.0f} min"


def _flat(node: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as (dotted key, text) pairs, unknown values as "unknown"."""
    pairs: list[tuple[str, str]] = []
    for key, value in node.items():
        if isinstance(value, Mapping):
            pairs += _flat(value, f"{prefix}{key}.")
        elif isinstance(value, (list, tuple)):
            pairs.append((f"{prefix}{key}", ", ".join(str(part) for part in value)))
        else:
            pairs.append((f"{prefix}{key}", "unknown" if value is None else str(value)))
    return pairs
