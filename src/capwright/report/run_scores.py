"""The scores of a run side by side: one row a score, one column a system, with how long its captions are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from capwright.evaluation.results import score_key
from capwright.report.charts import interval_bar
from capwright.report.headline import count, trained_systems
from capwright.report.run_folder import Measure, RunFolder, label, number
from capwright.report.score_names import name_of

#: What stands in a table of its own, or at the head of every column.
_ELSEWHERE = ("tts", "length")


@dataclass(frozen=True, slots=True)
class ScoreCell:
    """A score of one system; `missing` says how many images it could not be measured on."""

    system: str
    tone: str
    value: str
    span: str
    bar: Markup
    trained: bool
    missing: str


@dataclass(frozen=True, slots=True)
class ScoreLine:
    """A score of all systems."""

    name: str
    cells: tuple[ScoreCell, ...]


def score_lines(run: RunFolder, tones: Mapping[str, str]) -> tuple[list[ScoreLine], list[ScoreLine]]:
    """Rows of the table, and those of the numbers that stand under it; both empty when TTS and length are all there is.

    The first output of a scorer has a row in the table, and so has every one that goes by its own name (bleu1).
    """
    main: list[ScoreLine] = []
    rest: list[ScoreLine] = []
    paths = run.score_paths()
    others = [path for path in paths if path[0] not in _ELSEWHERE]
    if not others:
        return main, rest
    alone = {path[0] for path in others if len(path) == 2 and score_key(*path[:2]) == path[1]}
    led: set[str] = set()
    for path in [path for path in paths if path[:2] == ("tts", "micro")] + others:
        scorer, output = path[:2]
        leads = output == score_key(scorer, output) if scorer in alone else scorer not in led
        led.add(scorer)
        (main if leads and len(path) == 2 else rest).append(_line(run, tones, path, drawn=leads))
    return main, rest


def score_name(path: tuple[str, ...]) -> str:
    """("ciderD", "ciderD") is "CIDEr-D", ("caprl", "by_kind", "color") is "caprl.kind:color"."""
    scorer, output, *part = path
    return name_of(score_key(scorer, f"{output.removeprefix('by_')}:{part[0]}" if part else output))


def write_value(value: float | None, digits: int) -> str:
    """A value as it is written; "unknown" when there is none."""
    return "unknown" if value is None else f"{value:.{digits}f}"


def write_interval(measure: Measure, digits: int) -> str:
    """Its interval; "" where there is none."""
    return f"{measure.low:.{digits}f} to {measure.high:.{digits}f}" if measure.has_interval else ""


def digits_of(measures: list[Measure]) -> int:
    """Decimals: one where values are percentages or counts, three where they are shares."""
    return 1 if any(abs(measure.value or 0) > 10 for measure in measures) else 3


def _line(run: RunFolder, tones: Mapping[str, str], path: tuple[str, ...], drawn: bool) -> ScoreLine:
    measures = {system: run.measure(system, *path) for system in run.systems}
    digits = digits_of(list(measures.values()))
    ends = [end for m in measures.values() for end in (m.value, m.low, m.high) if end is not None]
    margin = (max(ends) - min(ends)) * 0.06 if ends else 0.0
    low, high = (min(ends) - margin, max(ends) + margin) if ends else (0.0, 1.0)
    trained = trained_systems(run, path[0])
    cells = tuple(
        ScoreCell(
            label(system),
            tones[system],
            write_value(m.value, digits),
            write_interval(m, digits),
            interval_bar(m, tones[system], low, high) if drawn else Markup(""),
            system in trained,
            _missing(run, system, path[0]) if m.known else "",
        )
        for system, m in measures.items()
    )
    return ScoreLine(score_name(path), cells)


def _missing(run: RunFolder, system: str, scorer: str) -> str:
    """ "3 images unknown" where a scorer knows fewer images than there are."""
    block = run.summary.get(system) or {}
    scored, samples = block.get("scored"), number(block.get("samples"))
    known = number(scored.get(scorer)) if isinstance(scored, Mapping) else None
    if samples is None or known is None or known >= samples:
        return ""
    return f"{count(int(samples - known), 'image')} unknown"
