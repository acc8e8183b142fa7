"""What to be careful about when reading a page, as far as the numbers themselves can tell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from capwright.console import count
from capwright.data.alignment import LONG
from capwright.report.parts import System, join, label
from capwright.report.run_folder import RunFolder
from capwright.report.score_sheet import ScoreSheet

#: Below this many images a page says that there are few.
FEW_IMAGES = 100
#: From this ratio on, the length of two systems is mentioned.
LONGER = 1.5


def write_caveats(sheet: ScoreSheet, tested: bool, findings: Sequence[str], not_installed: Sequence[str]) -> list[str]:
    """What to be careful about with scored captions, the most important first.

    Args:
        sheet: the systems and their scores.
        tested: whether the other systems were tested against the first.
        findings: what is said before these; the length of a system is not told twice.
        not_installed: scorers that were asked for and not measured.
    """
    told = [*(_beside_references(sheet, findings) or lengths_apart(sheet.systems)), *_trained(sheet)]
    told += _chance(sheet, tested)
    humans = [system.name for system in sheet.systems if "human" in system.name.lower()]
    if humans:
        told.append(
            f"{join(humans)}: captions of people can score lower on CIDEr than automatic ones. N-gram scores reward "
            "saying what the other references say; a low one does not make a person's caption worse."
        )
    told += what_is_unknown(sheet.systems)
    if not findings:
        told += [f"{system.name}: {text}" for system in sheet.systems for text in system.warnings]
    told += few_images(sheet.systems)
    if not_installed:
        told.append(f"Requested but not measured: {join(not_installed)}. The table says why.")
    return told


def lengths_apart(systems: Iterable[System]) -> list[str]:
    """That captions of one system are much longer than those of another."""
    means = [(system.mean_words, place, system) for place, system in enumerate(systems) if system.mean_words]
    if not means:
        return []
    (short, _, brief), (long, _, wordy) = min(means), max(means)
    if long < LONGER * short:
        return []
    return [
        f"Captions of {wordy.name} are {long / short:.1f} times as long as those of {brief.name} ({long:.1f} against "
        f"{short:.1f} words): part of any difference may be length."
    ]


def what_is_unknown(systems: Iterable[System]) -> list[str]:
    """Images without a usable caption, and those that a scorer could not measure although there is one."""
    told = []
    for system in systems:
        lost = sum((system.unknown or {}).values())
        if lost:
            have, are = ("has", "is") if lost == 1 else ("have", "are")
            told.append(
                f"{count(lost, 'image')} of {system.name} {have} no usable caption and {are} in none of its scores."
            )
        for scorer, (n, reasons) in system.unmeasured.items():
            why = f" ({join(reasons)})" if reasons else ""
            told.append(
                f"{scorer} of {system.name}: {count(n, 'image')} could not be measured{why} and "
                f"{'is' if n == 1 else 'are'} in none of its numbers."
            )
    return told


def few_images(systems: Iterable[System]) -> list[str]:
    """That a small number of images was measured."""
    sizes = [system.images for system in systems if system.images is not None]
    if not sizes or min(sizes) >= FEW_IMAGES:
        return []
    return [f"Only {count(min(sizes), 'image')} {'was' if min(sizes) == 1 else 'were'} measured."]


def run_alarms(run: RunFolder) -> list[str]:
    """What training warned of, with where it did so first."""
    found: dict[str, str] = {}
    for row in run.steps:
        alarms = row.get("alarms")
        for text in alarms if isinstance(alarms, list) else ():
            found.setdefault(str(text), f"{label(str(row.get('stage')))}, step {row.get('step')}: {text}.")
    return list(found.values())


def run_forks(run: RunFolder) -> list[str]:
    """That stages are two ways to go on, and not one after the other."""
    before = dict(zip(run.systems[1:], run.systems))
    return [
        f"{label(name)} went on from {label(start)}, not from {label(before[name])}: these are two ways to go."
        for name, start in run.starts.items()
    ]


def _beside_references(sheet: ScoreSheet, findings: Sequence[str]) -> list[str]:
    known = [text.partition(": ")[0] for text in findings if "times as long as" in text]
    references = sheet.mean_reference_words
    return [
        f"Captions of {system.name} are {words / references:.1f} times as long as the references ({words:.1f} "
        f"against {references:.1f} words): scores that count n-grams measure length here more than quality."
        for system in sheet.systems
        if system.name not in known and (words := system.mean_words) and references and words > LONG * references
    ]


def _trained(sheet: ScoreSheet) -> list[str]:
    told = []
    for system in sheet.systems:
        own = [score.name for score in sheet.headlines if score.scorer in system.trained_on]
        if own:
            which, does = ("that score says", "does") if len(own) == 1 else ("those scores say", "do")
            told.append(
                f"{system.name} was trained on {join(own)}: {which} how well the training worked, and {does} not lead "
                "this page."
            )
    return told


def _chance(sheet: ScoreSheet, tested: bool) -> list[str]:
    if len(sheet.systems) == 1:
        return ["There is no second system to compare with."]
    if not tested:
        return ["The systems were not tested against each other: how much of a difference is chance is unknown."]
    if len(sheet.systems) > 2:
        return [
            f"Only differences from {sheet.systems[0].name} were tested; which of the others is better is not known "
            "beyond their intervals."
        ]
    return []
