"""The things that captions name, listed by a language model, and whether they are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from capwright.judges.protocols import Claims, Verdict, Writer
from capwright.scorers._asking import failure
from capwright.scorers.questions._open_questions import write_records
from capwright.types import NotInstalledError, Status

#: Words for the image itself, and for no thing in it.
_NO_THINGS = {"photo", "photograph", "image", "painting", "drawing", "view", "scene", "background", "foreground"}


def check_writer(judge: Claims, scorer: str, instead: str) -> None:
    """Raises NotInstalledError, naming the scorer to use instead, when the judge is no language model."""
    if not isinstance(judge, Writer):
        raise NotInstalledError(
            f"{scorer}: not installed: a language model that lists what captions name; name one as judge, such as "
            f'{{"name": "http://localhost:8000/v1", "model": "..."}}, or use {instead}'
        )


def named_things(judge: Any, captions: Sequence[str], seed: int, scorer: str) -> list[tuple[tuple[str, ...], str]]:
    """What each caption names, in lower case and each once, and "ok" or why that is unknown; one call for all.

    A blank caption names nothing and no judge is asked. Words for the image itself ("photo") are left out.
    """
    given = [{"caption": text} if text.strip() else None for text in captions]
    records = write_records(judge, "terms", given, seed, scorer)
    return [((), Status.OK) if one is None else _read(record) for one, record in zip(given, records)]


def claim_of(thing: str) -> str:
    """The claim that a thing is in the image; no article, which only some nouns would have."""
    return f"There is this in the image: {thing}."


def judged(verdict: Verdict, evidence: str) -> str:
    """Whether a thing is "present", "absent" or "unsure": absent from a text that does not mention it, unsure where a
    image leaves it open."""
    if verdict.verdict == "entailed":
        return "present"
    return "unsure" if verdict.verdict == "neutral" and evidence == "image" else "absent"


def _read(record: Mapping[str, Any]) -> tuple[tuple[str, ...], str]:
    if record.get("status") != Status.OK:
        return (), failure(record.get("status"))
    terms = record.get("terms")
    if not isinstance(terms, (list, tuple)) or not all(isinstance(term, str) for term in terms):
        return (), Status.UNPARSEABLE
    folded = (" ".join(term.casefold().split()) for term in terms)
    return tuple(dict.fromkeys(term for term in folded if term and term not in _NO_THINGS)), Status.OK
