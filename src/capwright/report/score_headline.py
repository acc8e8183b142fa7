"""What the scores say in words: who leads on what, what may be chance, and what to be careful about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from capwright.evaluation.compare import Comparison
from capwright.report.caveats import write_caveats
from capwright.report.parts import Headline, Score, System, is_clear, join, name_of
from capwright.report.score_sheet import ScoreSheet

Pieces = list[tuple[str, str]]


@dataclass(frozen=True)
class Duels:
    """How systems compare with the first on scores that may lead.

    Attributes:
        systems, scores: of the page; scores that a system was trained on, and those without a better direction, do not
            lead.
        verdicts: (key of a system, key of a score) -> 1 it is clearly better than the first, -1 clearly worse, 0 open;
            nothing where it was not tested.
    """

    systems: Sequence[System]
    scores: Sequence[Score]
    verdicts: Mapping[tuple[str, str], int]

    def of(self, system: System) -> dict[str, int]:
        """Name of a score -> the verdict on a system."""
        return {
            score.name: self.verdicts[system.key, score.key]
            for score in self.scores
            if (system.key, score.key) in self.verdicts
        }


def write_score_headline(
    sheet: ScoreSheet, comparisons: Sequence[Comparison], findings: Sequence[str], not_installed: Mapping[str, str]
) -> Headline:
    """One sentence about who leads; the numbers of the leading score; caveats."""
    scores = [score for score in sheet.headlines if score.better and not sheet.trained(score) and _known(sheet, score)]
    scores.sort(key=lambda score: score != sheet.lead)
    duels = Duels(sheet.systems, scores, _verdicts(sheet, scores, comparisons))
    told = write_caveats(
        sheet, bool(duels.verdicts) or not scores, findings, [name_of(s) for s in sorted(not_installed)]
    )
    caveats = tuple(dict.fromkeys([*findings, *told]))
    if not scores:
        return Headline(((_no_judge(sheet), ""),), tuple(_numbers(sheet, sheet.headlines[:1])), caveats)
    if len(sheet.systems) == 1:
        return Headline(_alone(sheet.systems[0], scores[0]), tuple(_numbers(sheet, scores[1:])), caveats)
    pieces = _pair(duels) if len(sheet.systems) == 2 and duels.verdicts else _several(duels)
    facts = _numbers(sheet, scores[:1]) + (_against_first(duels) if len(sheet.systems) > 2 else [])
    return Headline((*pieces, (".", "")), tuple(facts), caveats)


def _known(sheet: ScoreSheet, score: Score) -> bool:
    return any(system.find(score.key).known for system in sheet.systems)


def _verdicts(
    sheet: ScoreSheet, scores: Sequence[Score], comparisons: Sequence[Comparison]
) -> dict[tuple[str, str], int]:
    better = {score.key: score.better for score in scores}
    return {
        (c.b, c.score): (better[c.score] if c.difference > 0 else -better[c.score]) * is_clear(c, sheet.level)
        for c in comparisons
        if c.a == sheet.systems[0].key and c.score in better and c.difference is not None
    }


def _no_judge(sheet: ScoreSheet) -> str:
    known = [score for score in sheet.headlines if _known(sheet, score)]
    if not known:
        return "These captions have no score yet."
    if any(score.better for score in known):
        return "Every score here was trained on, so none of them can judge."
    return "Nothing measured here says which captions are better."


def _alone(system: System, score: Score) -> tuple[tuple[str, str], ...]:
    found = system.find(score.key)
    likely = f", likely between {score.text(found.low)} and {score.text(found.high)}" if found.has_interval else ""
    ending = f" on {score.name}{likely}."
    return (system.name, ""), (" scores ", ""), (score.text(found.value), system.tone), (ending, "")


def _pair(duels: Duels) -> Pieces:
    first, second = ((system.name, system.tone) for system in duels.systems)
    found = duels.of(duels.systems[1])
    won, lost, open_ = ([name for name, verdict in found.items() if verdict == kind] for kind in (1, -1, 0))
    if not won and not lost:
        of = f"the difference in {open_[0]}" if len(found) == 1 else f"all {len(found)} differences"
        return [("Nothing sets ", ""), second, (" apart from ", ""), first, (f": {of} may be chance", "")]
    if won and lost:
        pieces = [second, (f" scores better on {join(won)}, ", ""), first, (f" on {join(lost)}", "")]
    else:
        better, worse = (second, first) if won else (first, second)
        pieces = [better, (" scores better than ", ""), worse, (f" on {_names(won or lost, len(found), 0)}", "")]
    if open_:
        pieces.append((f"; {'one difference' if len(open_) == 1 else f'{len(open_)} differences'} may be chance", ""))
    return pieces


def _several(duels: Duels) -> Pieces:
    """Who has the best value on which scores, and which of these leads may be chance."""
    leads: dict[int, list[Score]] = {}
    for score in duels.scores:
        values = [(system.find(score.key).value, n) for n, system in enumerate(duels.systems)]
        signed = [(value * score.better, n) for value, n in values if value is not None]
        best = [n for value, n in signed if value == max(signed)[0]]
        if len(best) == 1:
            leads.setdefault(best[0], []).append(score)
    if not leads:
        return [("No system leads: the best have equal scores", "")]
    pieces: Pieces = []
    for n in sorted(leads, key=lambda n: (-len(leads[n]), n))[:3]:
        told = _names([score.name for score in leads[n]], len(duels.scores), 3) + _doubt(n, leads[n], duels)
        system = duels.systems[n]
        pieces += [(", " if pieces else "", ""), (system.name, system.tone)]
        pieces.append((f" {'on' if len(pieces) > 2 else 'leads on'} {told}", ""))
    return pieces


def _doubt(leader: int, scores: Sequence[Score], duels: Duels) -> str:
    """How many leads over the first system, or of the first system over all others, may be chance."""
    others, sign = ([duels.systems[leader]], 1) if leader else (duels.systems[1:], -1)
    verdicts = [[duels.verdicts.get((other.key, score.key)) for other in others] for score in scores]
    if any(verdict is None for row in verdicts for verdict in row):
        return ""
    open_ = sum(any((verdict or 0) * sign <= 0 for verdict in row) for row in verdicts)
    if not open_:
        return ""
    return " (may be chance)" if open_ == len(scores) else f" ({open_} of them may be chance)"


def _against_first(duels: Duels) -> list[str]:
    """How the others compare with the first system; those that compare alike in one sentence."""
    alike: dict[str, list[str]] = {}
    for system in duels.systems[1:]:
        found = duels.of(system)
        kinds = {"better": 1, "worse": -1}
        named = {word: [name for name, verdict in found.items() if verdict == kind] for word, kind in kinds.items()}
        parts = [f"{word} on {_names(names, len(found), 3)}" for word, names in named.items() if names]
        if found:
            told = "clearly " + join(parts) if parts else "not clearly different"
            alike.setdefault(told, []).append(system.name)
    first = duels.systems[0].name
    return [
        f"Against {first}, {join(names)} {'is' if len(names) == 1 else 'are'} {told}." for told, names in alike.items()
    ]


def _numbers(sheet: ScoreSheet, scores: Sequence[Score]) -> list[str]:
    """ "CIDEr-D: 0.600 for a and 0.865 for b." for each score, in short for one system."""
    known = [score for score in scores if _known(sheet, score)]
    values = {score.name: [(score.text(s.find(score.key).value), s.name) for s in sheet.systems] for score in known}
    if len(sheet.systems) == 1:
        return [f"{join([f'{name} {value}' for name, ((value, _),) in values.items()])}."] if values else []
    return [f"{name}: {join([f'{value} for {who}' for value, who in row])}." for name, row in values.items()]


def _names(names: Sequence[str], total: int, few: int) -> str:
    """The names, or how many of how many measures when there are `few` or more; 0: when there are several at all."""
    if len(names) < few or total == 1 or (few and total < few):
        return join(list(names))
    return f"all {total} measures" if len(names) == total else f"{len(names)} of {total} measures"
