"""Open questions: answered from a caption in a few words of one's own, and rules that hold such an answer to the key.

Used by `vdcscore`, where a judge marks the answers, and by `prism`, where one of `RULES` does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from capwright.judges.protocols import Answer, Writer
from capwright.scorers._asking import ask_once, failure
from capwright.types import Status

#: How far a number may be from the right one, as a share of the right one.
TOLERANCE = 0.05
#: Share of letters that must be changed from which on an answer is worth nothing.
TOO_FAR = 0.5

_NUMBER = re.compile(r"[$€£¥]?\s*([-+]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?)\s*(%?)")


def answer_openly(writer: Writer, asked: Sequence[tuple[str, str]], seed: int, scorer: str) -> list[Answer]:
    """An answer for each (caption, question), in one call: its `text`, or an abstention where it is not told.

    A caption without words tells nothing, and no judge is asked. Raises as `ask_once`.
    """
    given = [{"caption": text, "question": question} if text.strip() else None for text, question in asked]
    records = write_records(writer, "answer", given, seed, scorer)
    return [Answer(None, True) if one is None else _read(record) for one, record in zip(given, records)]


def write_records(
    writer: Writer, task: str, given: Sequence[Mapping[str, Any] | None], seed: int, scorer: str
) -> list[Mapping[str, Any]]:
    """One record for each `given`, and None for None, as `ask_once`."""

    def write(given: Sequence[Mapping[str, Any]], *, seed: int) -> list[Mapping[str, Any]]:
        return writer.write(task, given, seed=seed)

    return ask_once(write, given, seed, scorer, f"of {task!r}")


def status_of_record(record: Mapping[str, Any]) -> str:
    """ "ok", or why there is no answer."""
    status = record.get("status", Status.OK)
    return status if status == Status.OK else failure(status, Status.UNPARSEABLE)


def _read(record: Mapping[str, Any]) -> Answer:
    status, said = status_of_record(record), record.get("answer")
    if status == Status.OK and not isinstance(said, str):
        status = Status.UNPARSEABLE
    text = str(said).strip() if status == Status.OK and record.get("told", True) else ""
    return Answer(None, status == Status.OK and not text, status, text=text)


# Rules: what an answer is worth, from 0 to 1 -------------------------------------------------------------------------


def exact(said: str, right: str) -> float:
    """1 when the words are the same: letter case, spaces and a full stop at the end do not count."""
    return float(_plain(said) == _plain(right))


def relaxed(said: str, right: str) -> float:
    """1 for a number within 5 % of the right one, as for charts (ChartQA, arXiv 2203.10244); other answers by `exact`.

    An answer is a number when it is nothing else: "1,200", "$3.5", "12%", but not "12 people". Where one of the two has
    a percent sign and the other has none, 12% is 12 or 0.12.
    """
    ours, key = _number(said), _number(right)
    if ours is None or key is None:
        return exact(said, right)
    (value, is_percent), (wanted, wants_percent) = ours, key
    near = abs(value - wanted) <= TOLERANCE * abs(wanted) + 1e-12
    if is_percent != wants_percent:
        value, wanted = (value / 100, wanted) if is_percent else (value, wanted / 100)
        near = near or abs(value - wanted) <= TOLERANCE * abs(wanted) + 1e-12
    return float(near)


def anls(said: str, right: str) -> float:
    """1 - NL, and 0 from NL = 0.5 on (Biten et al., ICCV 2019), as for text in images.

    NL is the number of letters to insert, delete or change, divided by the length of the longer one. Letter case,
    spaces and a full stop at the end do not count.
    """
    ours, key = _plain(said), _plain(right)
    longest = max(len(ours), len(key))
    if longest == 0:
        return 0.0
    if longest - min(len(ours), len(key)) >= TOO_FAR * longest:
        return 0.0  # whatever the letters are
    far = _edits(ours, key) / longest
    return 1 - far if far < TOO_FAR else 0.0


#: Name -> rule.
RULES = {"exact": exact, "relaxed": relaxed, "anls": anls}


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(" .")


def _number(text: str) -> tuple[float, bool] | None:
    """(number, whether it has a percent sign), or None for what is not just a number."""
    found = _NUMBER.fullmatch(_plain(text).replace("\N{MINUS SIGN}", "-"))
    if not found or not any(map(str.isdecimal, found[1])):
        return None
    return float(found[1].replace(",", "")), bool(found[2])


def _edits(a: str, b: str) -> int:
    """Levenshtein's distance."""
    row = list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (letter != other))
    return row[-1]
