"""One page that shows a run: what happened, how sure we are, and what the captioners actually say.

The page is a single HTML file with its images, charts and style inside. It needs no script and no network, follows
the reader's light or dark setting, and the same inputs give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from capwright.report.charts import interval_bar, squares, value_bar, whole
from capwright.report.curves import STATES, group_states, probe_curve, reward_curve
from capwright.report.gallery import Card, Matcher, build_gallery
from capwright.report.headline import ComparisonRow, read_comparisons, trained_systems, words_of, write_headline
from capwright.report.injection import read_orders
from capwright.report.pages import render_page, write_page
from capwright.report.run_folder import Measure, RunFolder, label, number, read_run
from capwright.report.run_scores import digits_of, score_lines, score_name, write_interval, write_value
from capwright.report.term_marks import term_matcher
from capwright.types import Sample, Vocabulary

#: Explanations of the columns of the table, shown under it.
COLUMNS = (
    ("Micro", "of 100 professional names an expert would use, how many the caption says (the headline score)"),
    ("Macro", "the same, averaged over images"),
    ("Weighted", "a generic or vague name earns part of the credit"),
    ("Precision", "of 100 professional names said, how many are right"),
)


@dataclass(frozen=True, slots=True)
class SystemRow:
    """One system in the headline table."""

    name: str
    tone: str
    scores: tuple[tuple[str, Measure], ...]
    bar: str
    words: Measure
    trained: bool
    samples: int | None
    unknown: int | None


@dataclass(frozen=True, slots=True)
class Tier:
    name: str
    terms: int
    never: bool
    bars: tuple[tuple[str, str, str], ...]


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
    run = read_run(run_dir)
    vocabulary = vocabulary if vocabulary is not None else getattr(samples, "vocabulary", None)
    samples = list(samples)
    page = render(run, samples, title or Path(run_dir).resolve().name, limit, term_matcher(samples, vocabulary), things)
    return write_page(Path(out) if out is not None else Path(run_dir) / "report.html", page)


def render(
    run: RunFolder, samples: Sequence[Sample], title: str, limit: int, match: Matcher | None, things: str
) -> str:
    """The page as text."""
    tones = system_tones(run.systems)
    ids = [sample.id for sample in samples]
    unknown = {name: run.unknown(name, ids) for name in run.systems}
    gallery = build_gallery(run, samples, tones, match, limit)
    comparisons, others = _comparisons(run, tones)
    lines, more = score_lines(run, tones)
    return render_page(
        "report.html.jinja",
        {
            "score": lambda value: write_value(value, 1),
            "interval": lambda measure: write_interval(measure, 1),
            "whole": whole,
            "signed": _signed,
            "titled": _titled,
        },
        title=title,
        run=run,
        headline=write_headline(run, tones, things, unknown),
        things=things,
        waffles=_waffles(run, tones),
        rows=_rows(run, tones, unknown),
        columns=COLUMNS,
        comparisons=comparisons,
        others=others,
        names=run.lead == ("tts", "micro"),
        lead=score_name(run.lead),
        digits=digits_of([run.measure(name, *run.lead) for name in run.systems]),
        lines=lines,
        more=more,
        words=[words_of(run, name) for name in run.systems],
        figures=(reward_curve(run), probe_curve(run)),
        states=group_states(run),
        meanings=STATES,
        tiers=_tiers(run, samples, tones),
        orders=read_orders(run),
        gallery=gallery,
        searched=match is not None,
        credits=credits_of((*gallery.hardest, *gallery.improved)),
        counts=[(label(name), len(ids), unknown[name], _training_time(run, name)) for name in run.systems],
        signatures=_signatures(run),
        warnings=[(label(n), text) for n in run.systems for text in _texts((run.summary.get(n) or {}).get("warnings"))],
        facts=_flat(run.summary.get("run")),
        label=label,
    )


def system_tones(systems: Sequence[str]) -> dict[str, str]:
    """A color class for each system: grey for the first of several, the leading color for the last."""
    middle = [f"tone-{2 + place % 4}" for place in range(max(len(systems) - 2, 0))]
    chosen = ["tone-0", *middle, "tone-1"] if len(systems) > 1 else ["tone-1"]
    return dict(zip(systems, chosen))


def _waffles(run: RunFolder, tones: Mapping[str, str]) -> list[tuple[str, str, Measure, str]]:
    scores = [(name, run.measure(name, "tts", "micro")) for name in run.systems]
    return [(label(n), tones[n], score, squares(score.value, tones[n])) for n, score in scores if score.known]


def _rows(run: RunFolder, tones: Mapping[str, str], unknown: Mapping[str, Mapping[str, int] | None]) -> list[SystemRow]:
    rows, trained = [], trained_systems(run, "tts")
    for name in run.systems:
        scores = tuple((title, run.measure(name, "tts", title.lower())) for title, _ in COLUMNS)
        samples = number((run.summary.get(name) or {}).get("samples"))
        lost = unknown[name]
        rows.append(
            SystemRow(
                name=label(name),
                tone=tones[name],
                scores=scores,
                bar=interval_bar(scores[0][1], tones[name]),
                words=words_of(run, name),
                trained=name in trained,
                samples=None if samples is None else int(samples),
                unknown=None if lost is None else sum(lost.values()),
            )
        )
    return rows


def _comparisons(
    run: RunFolder, tones: Mapping[str, str]
) -> tuple[list[tuple[ComparisonRow, Markup]], list[ComparisonRow]]:
    """Comparisons of the leading score with their bars, on one scale; and all others."""
    every, lead = read_comparisons(run), ".".join(run.lead)
    found = [c for c in every if c.score == lead]
    ends = [v for c in found for v in (c.difference.value, c.difference.low, c.difference.high) if v is not None]
    reach = max(map(abs, ends), default=0) * 1.05 or 1.0
    start = min(min(ends, default=0) * 1.05, -0.15 * reach)
    end = max(max(ends, default=0) * 1.05, 0.15 * reach)
    bars = [(c, interval_bar(c.difference, tones.get(c.b, "tone-1"), start, end, zero=0)) for c in found]
    return bars, [c for c in every if c.score != lead]


def _tiers(run: RunFolder, samples: Sequence[Sample], tones: Mapping[str, str]) -> list[Tier]:
    counts: dict[str, int] = {}
    for sample in samples:
        for term in {term.name: term for term in sample.terms if term.level == "professional"}.values():
            counts[term.tier] = counts.get(term.tier, 0) + 1
    tiers = []
    for tier in run.tiers():
        bars = tuple(
            (label(name), tones[name], value_bar(run.measure(name, "tts", "by_tier", tier), tones[name]))
            for name in run.systems
            if run.measure(name, "tts", "micro").known
        )
        tiers.append(Tier(tier, counts.get(tier, 0), tier == "never", bars))
    return tiers


def credits_of(cards: Iterable[Card]) -> list[tuple[str, tuple[tuple[str, str], ...]]]:
    """(id, credit) of the photos that have one."""
    return [(card.id, card.credit) for card in cards if card.credit]


def _training_time(run: RunFolder, system: str) -> str:
    seconds = number((run.summary.get(system) or {}).get("seconds"))
    if seconds is None or system == "base":
        return ""
    return f"trained in {seconds:.0f} s" if seconds < 120 else f"trained in {seconds / 60:.0f} min"


def _signatures(run: RunFolder) -> list[tuple[str, str]]:
    """Scorer and signature; where systems were measured differently, each signature once."""
    pairs = _flat(run.summary.get("signatures"))
    for name in run.systems:
        pairs += _flat((run.summary.get(name) or {}).get("signatures"))
    return list(dict.fromkeys(pairs))


def _texts(node: Any) -> list[str]:
    return [text for text in node if isinstance(text, str)] if isinstance(node, list) else []


def _flat(node: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as (dotted key, text) pairs, unknown values as "unknown"."""
    if not isinstance(node, Mapping):
        return []
    pairs: list[tuple[str, str]] = []
    for key, value in node.items():
        if isinstance(value, Mapping):
            pairs += _flat(value, f"{prefix}{key}.")
        elif isinstance(value, (list, tuple)):
            pairs.append((f"{prefix}{key}", ", ".join(str(part) for part in value)))
        else:
            pairs.append((f"{prefix}{key}", "unknown" if value is None else str(value)))
    return pairs


def _signed(value: float | None, digits: int = 1) -> str:
    return "unknown" if value is None else f"{value:+.{digits}f}".replace("-", "−")


def _titled(score: str) -> str:
    """ "ciderD.ciderD" is "CIDEr-D"."""
    scorer, _, output = score.partition(".")
    return score_name((scorer, output))
