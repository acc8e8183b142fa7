"""Which questions need the image: right with it, not right without it, wherever the answer stands.

arXiv 2509.22647 (CapRL), section 2.2 and its code: a vision model answers each question with and without the image,
under rotations of the options; a question stays when its accuracy is above 0.75 with the image and below 0.25
without. Both bounds are strict, so with four rotations all four answers must be right, and none of the blind ones.

arXiv 2511.21025 (CaptionQA) tests blindness differently: ten tries with shuffled options, and a question with four
options is dropped when seven of them are right. That is far more lenient; `Filter(blind_rule="captionqa")`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from itertools import permutations
from random import Random

from pydantic import model_validator

from capwright.curation.questions.extraction import OPTIONS, Candidate
from capwright.judges.protocols import Answer, Evidence, Reader
from capwright.recipes.parts import Config
from capwright.types import DataError, Question

BLIND_RULES = ("caprl", "captionqa")
#: What a blind reader is shown.
NOTHING = ""


class Filter(Config):
    """When a question stays.

    Attributes:
        rotations: 1 to 4 orders in which the options are shown; rotation k begins with option k.
        seen: accuracy with the image must be above this.
        blind: accuracy without the image must be below this (rule "caprl"); above 1 it keeps every question.
        blind_rule: "caprl", or "captionqa": `tries` shuffled orders, dropped at 7 of 10 right answers.
        tries: 1 to 24 different orders of the rule "captionqa".
        seed: of the shuffles, and handed to the reader.

    Raises DataError when a value is out of range.
    """

    rotations: int = OPTIONS
    seen: float = 0.75
    blind: float = 0.25
    blind_rule: str = "caprl"
    tries: int = 10
    seed: int = 0

    @model_validator(mode="after")
    def _in_range(self) -> Filter:
        if not 1 <= self.rotations <= OPTIONS:
            raise DataError(f"rotations must be 1 to {OPTIONS}, one for each option, not {self.rotations}")
        if not 0 <= self.seen < 1:
            raise DataError(f"seen must be at least 0 and below 1, not {self.seen:g}: accuracy must be above it")
        if not self.blind > 0:
            raise DataError(f"blind must be above 0, not {self.blind:g}: accuracy must be below it")
        if self.blind_rule not in BLIND_RULES:
            raise DataError(f'blind rule "{self.blind_rule}" is not one of {", ".join(BLIND_RULES)}')
        if not 1 <= self.tries <= 24:
            raise DataError(f"tries must be 1 to 24, the number of orders of four options, not {self.tries}")
        return self

    def is_blind(self, accuracy: float, asked: int) -> bool:
        """Whether so many right answers without the image mean that it is not needed."""
        if self.blind_rule == "caprl":
            return accuracy >= self.blind
        return round(accuracy * asked) >= -(-7 * asked // 10)


def judge(
    asked: Sequence[tuple[Evidence, str, Candidate]], reader: Reader, rules: Filter, blind: Reader | None = None
) -> list[Candidate]:
    """Candidates with `seen`, `blind` and a verdict: "kept", "not_seen", "blind" or "unknown".

    Two calls in all: with evidence for every question and rotation, then without evidence for those that passed.
    Abstaining is not right. A failed call makes a question unknown, with the status in `note`: it is not kept,
    and it is not counted as answered wrongly either.

    Args:
        asked: (image or text, id of the sample, candidate whose verdict is "").
        reader: answers from the evidence.
        blind: who answers without evidence; the same reader by default, as in CapRL.
    """
    turned = [_rotations(candidate.question, rules.rotations) for _, _, candidate in asked]
    shown: list[Evidence] = [evidence for evidence, _, _ in asked]
    judged = [
        replace(candidate, seen=right, note=note) if right is not None else _unknown(candidate, note)
        for (_, _, candidate), (right, note) in zip(asked, _accuracies(shown, turned, reader, rules.seed))
    ]
    for i, candidate in enumerate(judged):
        if candidate.seen is not None and not candidate.seen > rules.seen:
            judged[i] = replace(candidate, verdict="not_seen")
    left = [i for i, candidate in enumerate(judged) if not candidate.verdict]
    if rules.blind_rule == "captionqa":
        turned = [_shuffles(judged[i].question, rules.tries, rules.seed, asked[i][1]) for i in left]
    else:
        turned = [turned[i] for i in left]
    answered = _accuracies([NOTHING] * len(left), turned, blind or reader, rules.seed)
    for i, orders, (right, note) in zip(left, turned, answered):
        if right is None:
            judged[i] = _unknown(judged[i], note)
        else:
            verdict = "blind" if rules.is_blind(right, len(orders)) else "kept"
            judged[i] = replace(judged[i], blind=right, verdict=verdict)
    return judged


def _accuracies(
    shown: Sequence[Evidence], turned: Sequence[Sequence[Question]], reader: Reader, seed: int
) -> list[tuple[float | None, str]]:
    """(share of right answers, "") of each question over its orders, or (None, status) where an answer is missing."""
    asked = [(evidence, question) for evidence, orders in zip(shown, turned) for question in orders]
    # Readers never need the answer; without it no prompt can leak it.
    answers = iter(
        reader.answer([(evidence, replace(q, answer="")) for evidence, q in asked], seed=seed) if asked else ()
    )
    found: list[tuple[float | None, str]] = []
    for orders in turned:
        marks = [_mark(question, next(answers)) for question in orders]
        failed = [mark for mark in marks if isinstance(mark, str)]
        found.append((None, failed[0]) if failed else (sum(mark is True for mark in marks) / len(marks), ""))
    return found


def _mark(question: Question, answer: Answer) -> bool | str:
    """Whether an answer is right, or why that is unknown."""
    if answer.status != "ok":
        return answer.status
    if answer.option is None:
        return False
    if not 0 <= answer.option < len(question.options):
        return "unparseable"
    return question.options[answer.option] == question.answer


def _unknown(candidate: Candidate, status: str) -> Candidate:
    return replace(candidate, verdict="unknown", note=status)


def _rotations(question: Question, n: int) -> list[Question]:
    options = question.options
    return [replace(question, options=options[k:] + options[:k]) for k in range(n)]


def _shuffles(question: Question, n: int, seed: int, sample: str) -> list[Question]:
    """`n` different orders that follow from the seed, the sample and the question, not from who is asked before."""
    key = "\0".join([str(seed), sample, question.text, *question.options])
    rng = Random(blake2b(key.encode("utf-8"), digest_size=8).hexdigest())
    return [replace(question, options=order) for order in rng.sample(list(permutations(question.options)), n)]
