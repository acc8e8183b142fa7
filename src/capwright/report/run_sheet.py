"""A run as its page shows it: systems and their scores, and which of these the page is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from capwright.report.parts import TIERS, Score, Sheet, label, make_system, number, system_tones
from capwright.report.run_folder import RunFolder, trained_systems

#: The score that a page is about where it was measured.
TTS = "tts.micro"


@dataclass(frozen=True)
class RunSheet(Sheet):
    """A run's systems in the order of training, its scores, and the folder that they are from.

    `things` is what is named, in the plural ("teaching toys").
    """

    run: RunFolder
    things: str = "things"

    @property
    def names(self) -> bool:
        """Whether the page is about names that are said."""
        return self.lead is not None and self.lead.key == TTS

    def tiers(self) -> list[str]:
        """Names of the tiers any system was measured on, from what is said often to what is never said."""
        found = [score.output.removeprefix("tier:") for score in self.scores if score.key.startswith("tts.tier:")]
        return sorted(found, key=lambda tier: TIERS.index(tier) if tier in TIERS else len(TIERS))


def read_sheet(run: RunFolder, ids: Sequence[str], things: str) -> RunSheet:
    """What is known of a run; unknown captions of the samples `ids` are counted where the summary does not say them."""
    tones = system_tones(run.systems)
    scorers = {str(node.get("scorer")) for key in run.systems for node in run.scores(key).values()}
    trained = {scorer: trained_systems(run, scorer) for scorer in {*scorers, "tts"}}
    systems = []
    for key in run.systems:
        own = [scorer for scorer, stages in trained.items() if key in stages]
        own += [str(node.get("scorer")) for node in run.scores(key).values() if node.get("trained_on")]
        system = make_system(key, label(key), tones[key], run.block(key), own)
        if system.unknown is None:
            system = replace(system, unknown=run.count_unknown(key, ids))
        systems.append(system)
    scores = _scores(run)
    known = [score for score in scores if any(system.find(score.key).known for system in systems)]
    names = Score(TTS, "tts", "micro", headline=True, better=1, low=0, high=100)
    leads = [score for score in known if score.key == TTS]
    leads += [score for score in known if score.scorer not in ("tts", "length") and ":" not in score.output]
    level = number(run.summary.get("level")) or 0.95
    return RunSheet(tuple(systems), tuple(scores), (leads or [names])[0], level, run, things)


def _scores(run: RunFolder) -> list[Score]:
    """All scores that any system has.

    Files say neither which output stands for its scorer nor its range: it is the one with the scorer's name, or else
    the first; and values above 10 are percentages or counts.
    """
    found: dict[str, str] = {}
    highest: dict[str, float] = {}
    for system in run.systems:
        for key, node in run.scores(system).items():
            if "note" not in node:
                found[key] = str(node.get("scorer"))
                highest[key] = max(highest.get(key, 0.0), abs(number(node.get("value")) or 0.0))
    scores, led = [], {scorer for key, scorer in found.items() if _output(key, scorer) == key and ":" not in key}
    for key, scorer in found.items():
        output = _output(key, scorer)
        first = scorer not in led
        led.add(scorer)
        headline = (first or output == key) and ":" not in output
        high = 100.0 if scorer == "tts" or highest[key] > 10 else 1.0
        scores.append(Score(key, scorer, output, headline, int(scorer == "tts"), high=high))
    return scores


def _output(key: str, scorer: str) -> str:
    return key.removeprefix(f"{scorer}.")
