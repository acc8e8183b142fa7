"""A run's findings in words, computed from the numbers, with the caveats the numbers call for."""

from __future__ import annotations

from collections.abc import Sequence

from capwright.console import count
from capwright.evaluation.compare import Comparison
from capwright.evaluation.results import Estimate
from capwright.report.caveats import few_images, lengths_apart, run_alarms, run_forks, what_is_unknown
from capwright.report.pages import whole
from capwright.report.parts import Headline, Score, System, is_clear, join, name_of
from capwright.report.run_sheet import RunSheet

#: Systems that the first sentence has room for.
_NAMED = 4


def write_headline(sheet: RunSheet, comparisons: Sequence[Comparison]) -> Headline:
    """What happened, in one sentence; what else is worth knowing; what to be careful about."""
    lead = sheet.lead
    assert lead is not None
    measured = [system for system in sheet.systems if system.find(lead.key).known]
    caveats = [*run_forks(sheet.run), *_missing(sheet, lead)]
    if not measured:
        return Headline((("This run has no measured score yet.", ""),), (), tuple(caveats))
    first, last = measured[0], measured[-1]
    alone = ["There is no second system in this run to compare it with."] if first is last else []
    story = sheet.names and sheet.run.trained
    pieces = _story(sheet, lead, first, last) if story else _side_by_side(sheet, lead, measured)
    facts = _facts(sheet, measured) if sheet.names and (story or alone) else []
    if alone:
        doubts = [*_trained(sheet, lead), *caveats, *alone] if story else [*alone, *_trained(sheet, lead), *caveats]
    else:
        doubts = _doubts(sheet, lead, measured, comparisons) if sheet.run.trained else lengths_apart(measured)
        doubts += [*_trained(sheet, lead), *caveats]
    return Headline(tuple(pieces), tuple(facts), tuple(doubts))


def _story(sheet: RunSheet, lead: Score, first: System, last: System) -> list[tuple[str, str]]:
    """How many names the captioner says after training, and before."""
    pieces = [
        ("Before training" if last.key == "base" else f"After {last.name}", ""),
        (" the captioner names ", ""),
        (_of_hundred(last.find(lead.key)), last.tone),
        (f" {sheet.things} professionally", ""),
    ]
    before, now = (whole(system.find(lead.key).value or 0) for system in (first, last))
    then = "before" if first.key == "base" else f"after {first.name}"
    if first is last:
        return [*pieces, (".", "")]
    if now == before:
        return [*pieces, (f"; {then}, just as many.", "")]
    few = _few(first.find(lead.key))
    return [*pieces, (f"; {then}, ", ""), (few, first.tone), ("." if now > before else ". It got worse.", "")]


def _side_by_side(sheet: RunSheet, lead: Score, measured: Sequence[System]) -> list[tuple[str, str]]:
    """Of captions that were only measured, or of another score than TTS: what each system has, in their order."""
    pieces: list[tuple[str, str]] = [] if sheet.names else [(f"{lead.name}: ", "")]
    for place, system in enumerate(measured[:_NAMED]):
        if place:
            pieces.append((" and " if system is measured[-1] else ", ", ""))
        found = system.find(lead.key)
        value = _few(found) if sheet.names else lead.text(found.value)
        pieces += [(f"{system.name} {'names ' if sheet.names and not place else ''}", ""), (value, system.tone)]
        if sheet.names and not place:
            pieces.append((f" of 100 {sheet.things} professionally", ""))
    left = len(measured) - _NAMED
    return [*pieces, (f" and {count(left, 'other')}." if left > 0 else ".", "")]


def _of_hundred(found: Estimate) -> str:
    return f"{_few(found)} of 100"


def _few(found: Estimate) -> str:
    value = found.value or 0.0
    return "fewer than 1" if 0 < value < 0.5 else str(whole(value))


def _facts(sheet: RunSheet, measured: Sequence[System]) -> list[str]:
    first, last, facts = measured[0], measured[-1], []
    between = [f"{system.name} alone reaches {_few(system.find('tts.micro'))}" for system in measured[1:-1]]
    if between:
        facts.append(join(between) + ".")
    never, was = (system.find("tts.tier:never") for system in (last, first))
    if never.known:
        fact = f"Of the names people never say in everyday captions, it uses {_of_hundred(never)}"
        facts.append(fact + (f"; before, {_few(was)}." if was.known and first is not last else "."))
    precision = last.find("tts.precision")
    if precision.known:
        facts.append(f"Of 100 professional names it writes, {_few(precision)} are right.")
    return facts


def _doubts(sheet: RunSheet, lead: Score, measured: Sequence[System], comparisons: Sequence[Comparison]) -> list[str]:
    first, last = measured[0], measured[-1]
    doubts = []
    old, new = first.find(lead.key), last.find(lead.key)
    if not (old.has_interval and new.has_interval):
        doubts.append("The scores come without intervals, so how much of a difference is chance is unknown.")
    elif (old.low or 0) <= (new.high or 0) and (new.low or 0) <= (old.high or 0):
        paired = [c for c in comparisons if c.score == lead.key and {c.a, c.b} == {first.key, last.key}]
        if paired and paired[0].difference is not None and is_clear(paired[0], sheet.level):
            doubts.append("Their intervals overlap, though compared image by image the difference is clear.")
        else:
            doubts.append("Their intervals overlap: the difference may be chance.")
    then, now = (system.find("tts.precision").value for system in (first, last))
    if then is not None and now is not None and then - now > 5:
        doubts.append(
            f"Precision fell from {whole(then)} to {whole(now)}: some of the gain is paid for with wrong names."
        )
    short, long = first.mean_words, last.mean_words
    if short and long and long > 1.5 * short:
        doubts.append(f"Captions grew from {short:.0f} to {long:.0f} words; longer captions name more, right or wrong.")
    never = last.find("tts.tier:never")
    if never.value is not None and never.value < 2:
        doubts.append("Names that everyday captions never use are still hardly said.")
    return doubts


def _trained(sheet: RunSheet, lead: Score) -> list[str]:
    """That a system is judged by what it was trained on."""
    systems, name = [system.name for system in sheet.trained(lead)], name_of(lead.scorer)
    if not systems:
        return []
    return [
        f"{join(systems)} {'was' if len(systems) == 1 else 'were'} trained on {name}, so {name} says how well the "
        "training worked; whether the captions are better in other ways, it cannot say."
    ]


def _missing(sheet: RunSheet, lead: Score) -> list[str]:
    caveats = [
        f"{system.name} has captions but no score." for system in sheet.systems if not system.find(lead.key).known
    ]
    caveats += [*what_is_unknown(sheet.systems), *few_images(sheet.systems), *run_alarms(sheet.run)]
    if sheet.run.torn:
        caveats.append("The training journal breaks off in the middle of a line: the run was interrupted.")
    return caveats
