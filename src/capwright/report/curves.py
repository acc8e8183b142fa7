"""What the training journal shows: reward, probe scores and group states against images seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from capwright.console import count
from capwright.evaluation.scoring import flat_scores
from capwright.report.charts import Band, Point, Series, area_chart, line_chart, smooth, thin
from capwright.report.parts import WORDS, Figure, as_estimate, label, mapping, name_of, number
from capwright.report.run_folder import RunFolder

#: Group states from the bottom of the stack up, with what they mean.
STATES: Mapping[str, str] = WORDS["states"]
#: How many points an area chart averages its steps into, at most.
AREA_POINTS = 90


def reward_curve(run: RunFolder) -> Figure:
    """Mean reward of sampled captions, by step; one line for each reward."""
    heading = "Reward while training"
    if not run.steps:
        return Figure(
            heading, absent="There is no training journal (metrics.jsonl) in this run, so there are no curves."
        )
    bands, seen = _timeline(run)
    lines: dict[str, dict[str, list[Point]]] = {}
    for x, row in zip(seen, run.steps):
        for name, value in mapping(row.get("reward")).items():
            if (y := number(value)) is not None:
                lines.setdefault(str(name), {}).setdefault(str(row.get("stage")), []).append((x, y))
    if not lines:
        return Figure(heading, absent="No stage of this run was trained on a reward, so there is no reward to draw.")
    top, bottom = _edges([point for stages in lines.values() for points in stages.values() for point in points])
    tones = ("tone-1", "tone-4", "tone-3", "tone-5")
    series, moves = [], []
    for place, (name, stages) in enumerate(lines.items()):
        smoothed, said = {stage: smooth(points) for stage, points in stages.items()}, label(name)
        raw = tuple(thin(points) for points in stages.values())
        series.append(Series(said, tuple(map(thin, smoothed.values())), tones[place % len(tones)], raw))
        moves.append(f"The {said} reward went {_moves(smoothed, run, 2)}.")
    says = " ".join(moves)
    rewarded = {label(stage) for stages in lines.values() for stage in stages}
    silent = [band.label for band in bands if band.label not in rewarded]
    if silent:
        says += f" No reward: {', '.join(silent)}, which imitates given captions."
    return Figure(heading, line_chart(series, bands, f"{heading}. {says}", top, bottom), says + " Pale: single steps.")


def probe_curve(run: RunFolder, lead: str) -> Figure:
    """A score measured during training on images that are not trained on; of TTS also of names that are never said."""
    names, name = lead == "tts.micro", name_of(lead)
    heading = "Names said on held-out images" if names else f"{name} on held-out images"
    if names and not run.probes:
        return Figure(
            heading, absent="No probes were taken during training (the recipe's eval_every), so there is no curve."
        )
    offsets = _offsets(run)
    found: dict[str, dict[str, list[Point]]] = {lead: {}, "tts.tier:never": {}}
    for row in run.probes:
        seen, scores, stage = number(row.get("images_seen")), flat_scores(row.get("scores")), str(row.get("stage"))
        for key, lines in found.items():
            y = as_estimate(scores[key][1]).value if key in scores else None
            if seen is not None and y is not None and (names or key == lead):
                lines.setdefault(stage, []).append((seen + offsets.get(stage, 0.0), y))
    main, never = found.values()
    if not main:
        return Figure(heading, absent=f"The probes taken during training hold no {name}, so there is no curve.")
    points = [point for lines in found.values() for part in lines.values() for point in part]
    bands = _timeline(run)[0] or [Band("", min(x for x, _ in points), max(x for x, _ in points))]
    digits, more = (0, " TTS, 0 to 100.") if names else (2, "")
    says = f"Between the first probe and the last, {name} went {_moves(main, run, digits)}"
    series = [Series("All names" if names else name, _stretches(main, run), "tone-1", dots=True)]
    if never:
        says += f"; on never-said names {_moves(never, run, digits)}"
        series.append(Series("Never-said", _stretches(never, run), "tone-4", dots=True, dashed=True))
    top, bottom = _edges(points)
    if names:
        top, bottom = (25.0 if max(y for _, y in points) <= 20 else 100.0), 0.0
    return Figure(heading, line_chart(series, bands, f"{heading}. {says}.", top, bottom), f"{says}.{more}")


def _edges(points: Sequence[Point]) -> tuple[float, float]:
    """Top and bottom of a chart of these points; what lies between 0 and 1 has the whole range."""
    values = [y for _, y in points]
    highest = max(values)
    return 1.0 if 0.2 < highest <= 1 else max(1.1 * highest, 0.0), min(0.0, 1.1 * min(values))


def _stretches(lines: Mapping[str, list[Point]], run: RunFolder) -> tuple[tuple[Point, ...], ...]:
    """The points of each stage as a line, which breaks where a stage did not go on from the one before."""
    stretches: list[list[Point]] = []
    for stage, points in lines.items():
        if not stretches or stage in run.starts:
            stretches.append([])
        stretches[-1] += points
    return tuple(map(tuple, stretches))


def _moves(lines: Mapping[str, Sequence[Point]], run: RunFolder, digits: int) -> str:
    """ "from 12 to 34"; where stages are several ways to go, "from 12 to 34 in SFT, from 13 to 56 in RSRS"."""
    if not run.starts:
        lines = {"": [point for points in lines.values() for point in points]}
    moves = [
        f"from {points[0][1]:.{digits}f} to {points[-1][1]:.{digits}f}{f' in {label(stage)}' if stage else ''}"
        for stage, points in lines.items()
    ]
    return ", ".join(moves)


def group_states(run: RunFolder) -> Figure:
    """Shares of live, failed, saturated and unknown groups over time, and when experts were imitated."""
    heading = "What the groups were worth"
    bands, seen = _timeline(run)
    rows = [(x, row) for x, row in zip(seen, run.steps) if sum(_groups(row)) > 0]
    if not rows:
        why = "No stage sampled groups of captions" if run.steps else "There is no training journal (metrics.jsonl)"
        return Figure(heading, absent=f"{why} in this run, so there are no group states to show.")
    found = {s: _bins([(x, row) for x, row in rows if str(row.get("stage")) == s]) for s in _offsets(run)}
    runs = {stage: stretch for stage, stretch in found.items() if stretch}
    stages = {label(stage) for stage in runs}
    shown = [band for band in bands if band.label in stages]
    parts = [(name.capitalize(), f"state-{name}") for name in STATES]
    events = [(x, int(n)) for x, row in rows if (n := number(row.get("imitated")) or 0) > 0]
    if run.starts:
        moves = "; ".join(f"in {label(stage)} {_changes(points)}" for stage, points in runs.items())
    else:
        moves = _changes([point for stretch in runs.values() for point in stretch])
    says = f"Share of groups, first to last: {moves}."
    if events:
        total = sum(n for _, n in events)
        says += (
            f" Ticks below: {count(len(events), 'step')} imitated {count(total, 'expert caption')} of failed images."
        )
    if shown_captions := sum(int(number(row.get("demonstrated")) or 0) for _, row in rows):
        says += f" {count(shown_captions, 'demonstration')} beside the sampled captions taught something."
    elif not events:
        says += " No expert captions were imitated."
    chart = area_chart(parts, list(runs.values()), shown, [x for x, _ in events], f"{heading}. {says}")
    return Figure(heading, chart, says)


def _changes(points: Sequence[tuple[float, Sequence[float]]]) -> str:
    """ "live 0 → 75 %, failed 100 → 25 %"."""
    start, end = points[0][1], points[-1][1]
    return ", ".join(
        f"{name} {100 * start[place]:.0f} → {100 * end[place]:.0f} %"
        for place, name in enumerate(STATES)
        if name != "unknown" or start[place] or end[place]
    )


def _offsets(run: RunFolder) -> dict[str, float]:
    """What to add to the images seen of each stage: stages that count again from zero, or from the end of an earlier
    stage, are laid end to end."""
    offsets: dict[str, float] = {}
    ends: dict[str, float] = {}  # images seen, as stages counted them
    end, stage = 0.0, ""
    for row in run.steps:
        seen = number(row.get("images_seen")) or 0.0
        name = str(row.get("stage"))
        if name not in offsets:
            again = name in run.starts or (stage and seen <= ends[stage])
            offsets[name] = end - ends.get(run.starts.get(name, ""), 0.0) if again else offsets.get(stage, 0.0)
        stage = name
        ends[name] = seen
        end = max(end, seen + offsets[name])
    return offsets


def _timeline(run: RunFolder) -> tuple[list[Band], list[float]]:
    """The stages along the axis, and where on it each step lies."""
    offsets = _offsets(run)
    seen = [(number(row.get("images_seen")) or 0.0) + offsets[str(row.get("stage"))] for row in run.steps]
    ends = {str(row.get("stage")): x for x, row in zip(seen, run.steps)}
    return [Band(label(stage), *edges) for stage, edges in zip(ends, pairwise([0.0, *ends.values()]))], seen


def _groups(row: Mapping[str, Any]) -> list[float]:
    return [max(number(mapping(row.get("groups")).get(name)) or 0.0, 0.0) for name in STATES]


def _bins(rows: Sequence[tuple[float, Mapping[str, Any]]]) -> list[tuple[float, list[float]]]:
    """Steps averaged into at most `AREA_POINTS` points: (x of the middle, share of each state); the outermost reach
    the first and the last step."""
    size = -(-len(rows) // AREA_POINTS) if rows else 1
    size = max(size, min(5, len(rows) // 8))
    points = []
    for at in range(0, len(rows), size):
        part = rows[at : at + size]
        sums = [sum(column) for column in zip(*(_groups(row) for _, row in part))]
        points.append(((part[0][0] + part[-1][0]) / 2, [value / sum(sums) for value in sums]))
    if len(points) > 1:
        points[0] = (rows[0][0], points[0][1])
        points[-1] = (rows[-1][0], points[-1][1])
    elif points:
        points = [(rows[0][0], points[0][1]), (rows[-1][0], points[0][1])]
    return points
