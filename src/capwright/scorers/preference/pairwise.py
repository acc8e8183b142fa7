"""Which of two captions of an image is better? A judge is asked; what needs no judge is decided by rule.

Used by the scorer `caparena`, which holds captions against fixed opponents, and by `evaluation.arena`, where systems
meet each other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from capwright.judges.protocols import Judge, Preference
from capwright.scorers._asking import failure
from capwright.scorers.base import references_of
from capwright.types import NO_IMAGE, Sample, ScorerError, Status

#: What a judge can say: which place won, or neither.
PLACES = ("first", "second", "tie")
#: In which orders two captions are shown: each first once, or one order for each pair, drawn by content.
ShownOrder = Literal["both", "paper"]
ORDERS: tuple[str, ...] = get_args(ShownOrder)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two captions of an image in the order in which they are shown, and what the judge may look at."""

    image: Path | None
    first: str
    second: str
    reference: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """Which place is better ("first", "second", "tie"), or None where `status` says why it is unknown.

    `asked` is False where a rule decided: there is nothing in it about the judge.
    """

    better: str | None
    status: str = Status.OK
    reason: str = ""
    asked: bool = True


def open_judge(asked: str | Mapping[str, Any] | Judge, name: str) -> Judge:
    """A judge by its name, or the judge itself. `name` begins the message of errors.

    Raises:
        ScorerError: it cannot compare captions.
        ModelError: there is no judge of that name.
    """
    judge: Any = asked
    if isinstance(asked, (str, Mapping)):
        from capwright.judges.load import load_judge

        judge = load_judge(asked)
    if not callable(getattr(judge, "compare", None)) or not hasattr(judge, "signature"):
        raise ScorerError(f"{name}: {asked!r} cannot compare captions; name a judge, or give a Judge")
    return judge


def seen(sample: Sample, image: bool, reference: bool) -> tuple[Path | None, str] | None:
    """(image or None, reference or "") of a sample for the judge; None when there is neither.

    The reference is the first one, which is the best where a dataset ranks them.
    """
    path = sample.image if image and sample.image != NO_IMAGE else None
    text = next(iter(references_of(sample)), "") if reference else ""
    return (path, text) if path is not None or text else None


def coin(seed: int, *parts: str) -> int:
    """64 bits drawn by content: the same parts and seed always give the same number, whatever else is measured."""
    digest = hashlib.blake2b(digest_size=8)
    for part in (str(seed), *parts):
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big") + data)
    return int.from_bytes(digest.digest(), "big")


def decide(judge: Judge, pairs: Sequence[Pair], seed: int = 0) -> list[Decision]:
    """One decision a pair, in order, with at most one call of the judge.

    By rule, without a call: captions that are the same are a tie, and a caption without words loses to one with words.

    Raises ScorerError when the judge gives back another number of answers than it was asked for.
    """
    ruled = [_by_rule(pair.first.strip(), pair.second.strip()) for pair in pairs]
    asked = [pair for pair, rule in zip(pairs, ruled) if rule is None]
    answers = judge.compare([(p.image, p.first, p.second, p.reference) for p in asked], seed=seed) if asked else []
    if len(answers) != len(asked):
        raise ScorerError(f"the judge {judge.signature} gave {len(answers)} answers to {len(asked)} comparisons")
    rest = iter(answers)
    return [_read(next(rest)) if rule is None else Decision(rule, asked=False) for rule in ruled]


def _by_rule(first: str, second: str) -> str | None:
    if first == second:
        return "tie"
    if not first:
        return "second"
    return "first" if not second else None


def _read(answer: Preference) -> Decision:
    """What no rule of the port allows is not understood, which is unknown and not a tie."""
    if answer.status != Status.OK:
        return Decision(None, failure(answer.status), answer.reason)
    if answer.better not in PLACES:
        return Decision(None, Status.UNPARSEABLE, answer.reason or f"the judge said {answer.better!r}")
    return Decision(answer.better, Status.OK, answer.reason)
