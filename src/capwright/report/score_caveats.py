"""What to be careful about when reading scores of captions, as far as the numbers themselves can tell."""

from __future__ import annotations

from collections.abc import Sequence

from capwright.data.alignment import LONG
from capwright.report.headline import FEW_IMAGES, count, join
from capwright.report.score_sheet import Sheet

#: From this ratio on, the length of two systems is mentioned.
LONGER = 1.5


def write_caveats(sheet: Sheet, tested: bool, findings: Sequence[str], not_installed: Sequence[str]) -> list[str]:
    """What to be careful about, the most important first.

    Args:
        sheet: the systems and their scores.
        tested: whether the other systems were tested against the first.
        findings: what is said before these; the length of a system is not told twice.
        not_installed: scorers that were asked for and not measured.
    """
    told = [*_lengths(sheet, findings), *_trained(sheet), *_chance(sheet, tested)]
    humans = [system.name for system in sheet.systems if "human" in system.name.lower()]
    if humans:
        told.append(
            f"{join(humans)}: captions of people can score lower on CIDEr than automatic ones. N-gram scores reward "
            "saying what the other references say; a low one does not make a person's caption worse."
        )
    for system in sheet.systems:
        lost = sum(system.evaluation.unknown.values())
        if lost:
            told.append(
                f"{count(lost, 'image')} of {system.name} {'has' if lost == 1 else 'have'} no usable caption and "
                f"{'is' if lost == 1 else 'are'} in none of its scores."
            )
        for scorer in system.evaluation.scores:
            unmeasured, reasons = system.evaluation.unmeasured(scorer)
            if unmeasured:
                why = f" ({join(list(reasons))})" if reasons else ""
                told.append(
                    f"{scorer} of {system.name}: {count(unmeasured, 'image')} could not be measured{why} and "
                    f"{'is' if unmeasured == 1 else 'are'} in none of its numbers."
                )
        if not findings:
            told += [f"{system.name}: {text}" for text in system.evaluation.warnings]
    if len(sheet.samples) < FEW_IMAGES:
        told.append(
            f"Only {count(len(sheet.samples), 'image')} {'was' if len(sheet.samples) == 1 else 'were'} measured."
        )
    if not_installed:
        told.append(f"Requested but not measured: {join(not_installed)}. The table says why.")
    return told


def _lengths(sheet: Sheet, findings: Sequence[str]) -> list[str]:
    told = []
    known = [text.partition(": ")[0] for text in findings if "times as long as" in text]
    references = sheet.mean_reference_words
    for system in sheet.systems:
        words = system.mean_words
        if system.name not in known and words is not None and references and words > LONG * references:
            told.append(
                f"Captions of {system.name} are {words / references:.1f} times as long as the references ({words:.1f} "
                f"against {references:.1f} words): scores that count n-grams measure length here more than quality."
            )
    means = [(words, system.name) for system in sheet.systems if (words := system.mean_words)]
    if len(means) > 1 and not told:
        (short, brief), (long, wordy) = min(means), max(means)
        if long >= LONGER * short:
            told.append(
                f"Captions of {wordy} are {long / short:.1f} times as long as those of {brief} ({long:.1f} against "
                f"{short:.1f} words): part of any difference may be length."
            )
    return told


def _trained(sheet: Sheet) -> list[str]:
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


def _chance(sheet: Sheet, tested: bool) -> list[str]:
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
