"""From what a writer wrote to questions that can be asked: four options, one answer, nothing that undoes shuffling.

A writer's record is untrusted: it comes from a model. Whatever is in it, extraction never fails; an entry that is no
good question becomes a candidate with a verdict that says why.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeGuard

from capwright.types import Question

OPTIONS = 4
#: Letters of a question, an option or an answer beyond this are a sign of a writer that ran away.
MAX_LETTERS = 500

#: Why an entry is no question that can be asked, and what people are told.
MALFORMED = {
    "no_question": "without the text of a question",
    "options": f"not {OPTIONS} options with something in them",
    "same_options": "two options are the same",
    "catch_all": 'an option such as "all of the above"',
    "answer": "the answer is not one of the options, or could be two",
}

# Options that speak of other options change their meaning when they are shuffled; those that abstain clash with the
# option to abstain that readers are given.
_CATCH_ALL = re.compile(
    r"\b(all|none|any|some|both|either|neither) of (the )?(above|these|options|answers)\b"
    r"|\ball (the )?above\b|\b(both|either|neither) \(?[a-d]\)? (and|or|nor) \(?[a-d]\)?(?!\w)"
    r"|^\(?[a-d]\)? (and|or) \(?[a-d]\)?$"
    r"|\b(can ?not|can't|impossible to|unable to) (be )?(tell|told|say|said|know|known|determined?|answer|answered)\b"
    r"|\bnot enough information\b|^(unknown|unclear|not sure|undetermined)$"
)
_LABEL = re.compile(r"^\s*[(\[]?([A-Za-z])(?:[)\].:]\s*|\s+-\s+)(?=\S)")
_LETTER = re.compile(r"^\s*(?:(?i:answer|option)\s*:?\s*)?[(\[]?([A-Za-z])[)\].:]?\s*$")
_OPTION_LINE = re.compile(r"^[\s\-*>]*[(\[]?([A-D])[)\].:]\s*(\S.*)$")
_ANSWER_LINE = re.compile(r"^[\s\-*>#_]*(?i:(?:correct |right )?answer)[\s*_]*:[\s*_]*(\S.*)$")
_DECORATION = re.compile(r"^[\s#>*_\-]*(?:(?i:question|q)?\s*\d+\s*[.):]|(?i:question|q)\s*[.):])?[\s*_]*")
_RULE = re.compile(r"^[\s\-=*_#]*$")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A question on its way through the pipeline.

    Attributes:
        question: as it may be asked; of a malformed entry only the text, cut off.
        verdict: "" while it is in, "kept" at the end, or why it was left out.
        seen, blind: share of right answers with and without the image; None where no judge was asked or it is unknown.
        note: what helps to understand the verdict.
    """

    question: Question
    verdict: str = ""
    seen: float | None = None
    blind: float | None = None
    note: str = field(default="", compare=False)


def extract(record: Mapping[str, Any]) -> list[Candidate]:
    """The candidates in a writer's record, in order; those that cannot be asked have a verdict from `MALFORMED`.

    `record["questions"]` is a list of objects with `text` (or `question`), `options` (a list, or an object from letter
    to option), `answer` (the text of an option, or its letter) and perhaps `kind`. Without it, `record["text"]` is
    read as plain text: a line with the question, lines "A) ..." to "D) ...", a line "Answer: B".
    """
    entries = record.get("questions")
    if entries is None:
        entries = _read_text(record["text"]) if isinstance(record.get("text"), str) else []
    if isinstance(entries, Mapping):
        entries = [entries]
    if not isinstance(entries, (list, tuple)):
        return [Candidate(Question(shorten(entries)), "no_question")]
    return [validate(entry) for entry in entries]


def validate(entry: Any) -> Candidate:
    """One entry of a writer as a candidate. Labels before options ("A) red") are taken off."""
    if isinstance(entry, Question):
        entry = asdict(entry)
    if not isinstance(entry, Mapping):
        return Candidate(Question(shorten(entry)), "no_question")
    text = entry.get("text", entry.get("question"))
    options, answer, kind = entry.get("options"), entry.get("answer"), entry.get("kind")
    if not _is_text(text) or not fold(text):
        return Candidate(Question(shorten(text)), "no_question")
    question = Question(" ".join(text.split()), kind=" ".join(kind.split())[:40] if _is_text(kind) else "")
    if isinstance(options, Mapping):
        if [str(key).strip().upper() for key in options] != list("ABCD"):
            return Candidate(question, "options")
        options = list(options.values())
    if not isinstance(options, (list, tuple)) or len(options) != OPTIONS or not all(map(_is_text, options)):
        return Candidate(question, "options")
    shown = _without_labels([" ".join(option.split()) for option in options])
    folded = [fold(option) for option in shown]
    if not all(folded):
        return Candidate(question, "options")
    question = replace(question, options=tuple(shown))
    if len(set(folded)) < OPTIONS:
        return Candidate(question, "same_options")
    if any(map(_CATCH_ALL.search, folded)):
        return Candidate(question, "catch_all")
    place = _place(answer, shown, folded)
    if place is None:
        return Candidate(question, "answer", note=shorten(answer))
    return Candidate(replace(question, answer=shown[place]))


def fold(text: str) -> str:
    """How texts are compared: width, case, spaces and full stops at the end do not matter.

    >>> fold(" Two  RED boards. ")
    'two red boards'
    """
    plain = unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'")
    return " ".join(plain.split()).rstrip(".").rstrip()


def _place(answer: Any, options: list[str], folded: list[str]) -> int | None:
    """Which option the answer means: by its text, by its letter, or by both where they agree."""
    if not _is_text(answer):
        return None
    by_text = folded.index(fold(answer)) if fold(answer) in folded else None
    letter = _LETTER.match(answer)
    by_letter = "ABCD".find(letter[1].upper()) if letter else -1
    if by_letter < 0:
        labelled = _LABEL.match(answer)
        if by_text is None and labelled:  # "B) blue": letter and text must agree
            place = "ABCD".find(labelled[1].upper())
            return place if place >= 0 and fold(answer[labelled.end() :]) == folded[place] else None
        return by_text
    # "A" is a letter, unless options are letters themselves and it is not clear which was meant.
    return by_letter if by_text is None or by_text == by_letter else None


def _without_labels(options: list[str]) -> list[str]:
    labels = [_LABEL.match(option) for option in options]
    if all(labels) and [label[1].upper() for label in labels if label] == list("ABCD"):
        return [option[label.end() :] for option, label in zip(options, labels) if label]
    return options


def _read_text(text: str) -> list[dict[str, Any]]:
    """Blocks of question, options and answer in plain text or markdown, such as numbered lists."""
    entries: list[dict[str, Any]] = []
    asked = ""
    options: dict[str, str] = {}
    for line in text.splitlines():
        if answer := _ANSWER_LINE.match(line):
            entries.append({"text": asked, "options": options, "answer": answer[1].strip("*_ \t")})
            asked, options = "", {}
        elif option := _OPTION_LINE.match(line):
            options = {**options, option[1]: option[2].strip("*_ \t")}
        elif not _RULE.match(line):
            if options:  # a new question begins before the last one had its answer
                entries.append({"text": asked, "options": options})
                options = {}
            asked = _DECORATION.sub("", line).strip("*_ \t")
    if options:
        entries.append({"text": asked, "options": options})
    return entries


def _is_text(value: Any) -> TypeGuard[str]:
    """Text that can be stored and is not endless."""
    return isinstance(value, str) and len(value) <= MAX_LETTERS and not any("\ud800" <= c <= "\udfff" for c in value)


def shorten(value: Any) -> str:
    """Anything as a short text, for the record."""
    try:
        text = value if isinstance(value, str) else repr(value)
    except RecursionError:
        text = "nested too deeply"
    text = text[:400].encode("utf-8", "replace").decode("utf-8")
    return " ".join(text.split())[:120]
