"""What the scores say in words: who leads on what, what may be chance, and what to be careful about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from capwright.evaluation.compare import Comparison
from capwright.report.caveats import write_caveats
from capwright.report.parts import Headline, Score, Sheet, System, is_clear, join, measure_of, name_of
from capwright.report.score_sheet import ScoreSheet

#: Comparisons with the first system by (key of the other, key of the score).
Tests = Mapping[tuple[str, str], Comparison]


@dataclass(frozen=True, slots=True)
class Duel:
    """A score on which a system was compared with the first: 1 it is clearly better, -1 clearly worse, 0 open."""

    score: Score
    verdict: int


def write_score_headline(
    sheet: ScoreSheet, comparisons: Sequence[Comparison], findings: Sequence[str], not_installed: Mapping[str, str]
) -> Headline:
    """One sentence about who leads; the numbers of the leading score; caveats. Scores that a system was trained on,
    and scores without a better direction, do not lead."""
    tests = {(c.b, c.score): c for c in comparisons if c.a == sheet.systems[0].key}
    judges = [
        score
        for score in sheet.headlines
        if score.better and not sheet.trained(score) and any(measure_of(s, score).known for s in sheet.systems)
    ]
    judges.sort(key=lambda score: score != sheet.lead)
    tested = any(_duels(system, judges, tests, sheet) for system in sheet.systems[1:]) or not judges
    told = write_caveats(sheet, tested, findings, [name_of(scorer) for scorer in sorted(not_installed)])
    caveats = tuple(dict.fromkeys([*findings, *told]))
    if not judges:
        return Headline(((_no_judge(sheet), ""),), tuple(_numbers(sheet, sheet.headlines[:1])), caveats)
    if len(sheet.systems) == 1:
        return Headline(_alone(sheet, judges[0]), tuple(_numbers(sheet, judges[1:])), caveats)
    pieces = _pair(sheet, judges, tests) if len(sheet.systems) == 2 else _several(sheet, judges, tests)
    facts = _numbers(sheet, judges[:1]) + (_against_first(sheet, judges, tests) if len(sheet.systems) > 2 else [])
    return Headline(tuple(pieces), tuple(facts), caveats)


def _no_judge(sheet: Sheet) -> str:
    known = [s for s in sheet.headlines if any(measure_of(system, s).known for system in sheet.systems)]
    if not known:
        return "These captions have no score yet."
    if any(score.better for score in known):
        return "Every score here was trained on, so none of them can judge."
    return "Nothing measured here says which captions are better."


def _alone(sheet: Sheet, score: Score) -> tuple[tuple[str, str], ...]:
    system = sheet.systems[0]
    measure = measure_of(system, score)
    ending = (
        f", likely between {score.text(measure.low)} and {score.text(measure.high)}." if measure.has_interval else "."
    )
    return (
        (system.name, ""),
        (" scores ", ""),
        (score.text(measure.value), system.tone),
        (f" on {score.name}{ending}", ""),
    )


def _pair(sheet: Sheet, judges: Sequence[Score], tests: Tests) -> list[tuple[str, str]]:
    first, second = sheet.systems
    duels = _duels(second, judges, tests, sheet)
    if not duels:
        return _several(sheet, judges, tests)
    won = [duel for duel in duels if duel.verdict > 0]
    lost = [duel for duel in duels if duel.verdict < 0]
    open_ = len(duels) - len(won) - len(lost)
    if not won and not lost:
        of = f"the difference in {duels[0].score.name}" if len(duels) == 1 else f"all {len(duels)} differences"
        return [
            ("Nothing sets ", ""),
            *_named(second),
            (" apart from ", ""),
            *_named(first),
            (f": {of} may be chance.", ""),
        ]
    if won and lost:
        pieces = [
            *_named(second),
            (f" scores better on {_names(won)}, ", ""),
            *_named(first),
            (f" on {_names(lost)}", ""),
        ]
    else:
        better, worse = (second, first) if won else (first, second)
        clear = won or lost
        on = _names(clear) if len(clear) == len(duels) == 1 else f"{_of_all(len(clear), len(duels))} measures"
        pieces = [*_named(better), (" scores better than ", ""), *_named(worse), (f" on {on}", "")]
    if open_:
        pieces.append((f"; {'one difference' if open_ == 1 else f'{open_} differences'} may be chance", ""))
    return [*pieces, (".", "")]


def _several(sheet: Sheet, judges: Sequence[Score], tests: Tests) -> list[tuple[str, str]]:
    """Who has the best value on which scores, and where the first system is not clearly behind or ahead."""
    leads: dict[int, list[Score]] = {}
    for score in judges:
        values = {n: v for n, s in enumerate(sheet.systems) if (v := measure_of(s, score).value) is not None}
        best = max(v * score.better for v in values.values())
        leaders = [n for n, v in values.items() if v * score.better == best]
        if len(leaders) == 1:
            leads.setdefault(leaders[0], []).append(score)
    if not leads:
        return [("No system leads: the best have equal scores.", "")]
    order = sorted(leads, key=lambda n: (-len(leads[n]), n))
    most, *others = order
    pieces: list[tuple[str, str]] = []
    for n in [most, *others][:3]:
        told = _listed(leads[n], len(judges)) + _doubt(n, leads[n], tests, sheet)
        pieces += [
            (", " if pieces else "", ""),
            *_named(sheet.systems[n]),
            (f" {'on' if pieces else 'leads on'} {told}", ""),
        ]
    return [*pieces, (".", "")]


def _doubt(leader: int, scores: Sequence[Score], tests: Tests, sheet: Sheet) -> str:
    """How many leads over the first system, or of the first system over all others, may be chance."""
    others = [sheet.systems[leader]] if leader else sheet.systems[1:]
    sign = 1 if leader else -1
    open_ = 0
    for score in scores:
        duels = [duel for other in others for duel in _duels(other, [score], tests, sheet)]
        if len(duels) < len(others):
            return ""
        open_ += any(duel.verdict * sign <= 0 for duel in duels)
    if not open_:
        return ""
    return " (may be chance)" if open_ == len(scores) else f" ({open_} of them may be chance)"


def _listed(scores: Sequence[Score], total: int) -> str:
    return join([s.name for s in scores]) if len(scores) < 3 or total < 3 else f"{_of_all(len(scores), total)} measures"


def _duels(system: System, judges: Sequence[Score], tests: Tests, sheet: Sheet) -> list[Duel]:
    found = []
    for score in judges:
        test = tests.get((system.key, score.key))
        if test is not None and test.difference is not None:
            sign = score.better if test.difference > 0 else -score.better
            found.append(Duel(score, sign if is_clear(test, sheet.level) else 0))
    return found


def _against_first(sheet: Sheet, judges: Sequence[Score], tests: Tests) -> list[str]:
    """How the others compare with the first system; those that compare alike in one sentence."""
    alike: dict[str, list[str]] = {}
    for system in sheet.systems[1:]:
        duels = _duels(system, judges, tests, sheet)
        if not duels:
            continue
        won, lost = [d for d in duels if d.verdict > 0], [d for d in duels if d.verdict < 0]
        parts = [f"{word} on {_some(some, len(duels))}" for word, some in (("better", won), ("worse", lost)) if some]
        told = "clearly " + join(parts) if parts else "not clearly different"
        alike.setdefault(told, []).append(system.name)
    first = sheet.systems[0].name
    return [
        f"Against {first}, {join(names)} {'is' if len(names) == 1 else 'are'} {told}." for told, names in alike.items()
    ]


def _some(duels: Sequence[Duel], total: int) -> str:
    if len(duels) == total > 1:
        return f"all {total} measures"
    return _names(duels) if len(duels) < 3 else f"{len(duels)} of {total} measures"


def _numbers(sheet: Sheet, scores: Sequence[Score]) -> list[str]:
    """ "CIDEr-D: 0.600 for a and 0.865 for b." for each score, in short for one system."""
    known = [score for score in scores if any(measure_of(system, score).known for system in sheet.systems)]
    if len(sheet.systems) == 1:
        system = sheet.systems[0]
        texts = [f"{score.name} {score.text(measure_of(system, score).value)}" for score in known]
        return [f"{join(texts)}."] if texts else []
    return [
        f"{score.name}: "
        + join([f"{score.text(measure_of(s, score).value)} for {s.name}" for s in sheet.systems])
        + "."
        for score in known
    ]


def _named(system: System) -> list[tuple[str, str]]:
    return [(system.name, system.tone)]


def _names(duels: Sequence[Duel]) -> str:
    return join([duel.score.name for duel in duels])


def _of_all(some: int, total: int) -> str:
    return f"all {total}" if some == total else f"{some} of {total}"
