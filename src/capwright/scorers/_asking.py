"""Questions put to a reader who sees only the caption: what `caprl`, `captionqa` and `prism` have in common.

A question is answered right, answered wrong, left open (the reader abstains), or unknown: no answer could be had.
Unknown is never wrong. A caption is measured on the questions whose answers are known when these are at least half of
what was asked; with fewer it is unknown, with the status that most of its questions have.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Annotated, Any

from pydantic import Field

from capwright.judges.protocols import Answer, Evidence, Reader
from capwright.scorers.base import SCORED
from capwright.scorers.options import JUDGE, NamedJudge
from capwright.text.digest import fingerprint
from capwright.types import STATUSES, CapwrightError, DataError, Question, Sample, ScorerError

#: Who answers: a judge by its name, or an object that is a reader.
ReaderOption = Annotated[NamedJudge | Reader, Field(description=JUDGE.format("Reader"))]


@dataclass(frozen=True, slots=True)
class QuestionPrompt:
    """A question as it is put to the reader.

    Attributes:
        question: as the sample has it.
        shown: with its options in the order in which the reader sees them.
        forced: the reader should choose an option: abstaining earns nothing.
        abstain: place in `shown.options` of an option that says "cannot tell"; None where it is left to the reader to
            offer one.
    """

    question: Question
    shown: Question
    forced: bool = False
    abstain: int | None = None


@dataclass(frozen=True, slots=True)
class QuestionResult:
    """What came of a question: `right` and `abstained` are 0 or 1, or between them when probabilities are counted.

    Both are 0 where `status` is not "ok": nobody knows. `said` is the text of the chosen option, or "".
    """

    status: str
    right: float = 0.0
    abstained: float = 0.0
    said: str = ""

    @property
    def known(self) -> bool:
        """Whether there is an answer."""
        return self.status == "ok"


#: What a caption without words tells about anything.
UNANSWERED = QuestionResult("ok", abstained=1.0)


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """The questions of a corpus: how many are asked and how many cannot be, their kinds, and a digest of them all."""

    asked: int
    left_out: int
    kinds: tuple[str, ...]
    digest: str

    @property
    def name(self) -> str:
        """For signatures: "120#3f2a1b7c", or "118-2#3f2a1b7c" when two could not be asked."""
        return f"{self.asked}{f'-{self.left_out}' if self.left_out else ''}#{self.digest[:8]}"


def read_question_set(samples: Sequence[Sample], scorer: str, openly: bool = False) -> QuestionSet:
    """Gather the questions of samples, open ones too if `openly`. Raises DataError when none can be asked."""
    askable = {sample.id: [*choices(sample), *(open_ones(sample) if openly else ())] for sample in samples}
    asked = sum(map(len, askable.values()))
    total = sum(len(sample.questions) for sample in samples)
    if not asked:
        why = (
            f"none of the {total} questions has two different options with its answer among them"
            if total
            else "no sample has questions"
        )
        raise DataError(f'{scorer}: {why}; add "questions" with "text", "options" and "answer" to samples.jsonl')
    found = {question.kind.strip() for questions in askable.values() for question in questions}
    kinds = tuple(sorted(found - {""}))
    table = {
        name: [[q.text, list(q.options), q.answer, q.kind] for q in sorted_questions(questions)]
        for name, questions in askable.items()
    }
    return QuestionSet(asked, total - asked, kinds, fingerprint(table))


def choices(sample: Sample) -> list[Question]:
    """The multiple-choice questions of a sample that can be judged: two different options, the answer among them.

    A question whose answer is none of its options could only be answered wrong, one without an answer only by luck, and
    one that has only its answer to choose cannot be answered wrong; they are left out, and counted in the signature.
    """
    told = [(question, {option.strip() for option in question.options}) for question in sample.questions]
    return [question for question, options in told if len(options) > 1 and question.answer.strip() in options]


def open_ones(sample: Sample) -> list[Question]:
    """The questions of a sample that have an answer and no options."""
    return [question for question in sample.questions if not question.options and question.answer.strip()]


def sorted_questions(questions: Sequence[Question]) -> list[Question]:
    """In an order that depends on what they say and not on how they were listed."""
    return sorted(questions, key=lambda q: (q.text, q.options, q.answer))


def seeded_rng(*content: str | int) -> Random:
    """Random numbers that depend on this content alone, on every machine."""
    text = json.dumps(content, ensure_ascii=True, separators=(",", ":"))
    return Random(int.from_bytes(hashlib.blake2b(text.encode("ascii"), digest_size=16).digest(), "big"))


def shuffled(question: Question, random: Random) -> Question:
    """The question with the contents of its options in random order; the answer goes by its text and stays."""
    order = list(range(len(question.options)))
    random.shuffle(order)
    return replace(question, options=tuple(question.options[place] for place in order))


def open_port(judge: Any, port: type, scorer: str, can: str) -> Any:
    """The judge that is meant by a name, a mapping or an object.

    Raises ScorerError when it is not of that port, saying what it `can` not do; errors of opening it pass through.
    """
    found = judge
    if isinstance(judge, (str, Mapping)):
        from capwright.judges.load import load_judge

        found = load_judge(judge)
    if not isinstance(found, port):
        raise ScorerError(
            f"{scorer}: {type(found).__name__} cannot {can}; name a judge that can, such as "
            '{"name": "http://localhost:8000/v1", "model": "..."}'
        )
    return found


def ask(reader: Reader, asked: Sequence[tuple[Evidence, QuestionPrompt]], seed: int, scorer: str) -> list[Answer]:
    """One answer for each (evidence, question), in one call; what is asked twice in the same words is asked once.

    The reader never gets `Question.answer`. Raises ScorerError when it does not keep to its port; errors of its own
    (a server that is down) pass through when they are CapwrightErrors.
    """
    place: dict[tuple[Evidence, str, tuple[str, ...]], int] = {}
    unique: list[tuple[Evidence, Question]] = []
    where: list[int] = []
    for evidence, one in asked:
        key = (evidence, one.shown.text, one.shown.options)
        if key not in place:
            place[key] = len(unique)
            unique.append((evidence, replace(one.shown, answer="")))
        where.append(place[key])
    if not unique:
        return []
    try:
        answers = reader.answer(unique, seed=seed)
    except CapwrightError:
        raise
    except Exception as error:
        raise ScorerError(f"{scorer}: the judge failed on {len(unique)} questions: {error}") from error
    if len(answers) != len(unique):
        raise ScorerError(f"{scorer}: the judge gave {len(answers)} answers to {len(unique)} questions")
    strange = next((answer.status for answer in answers if answer.status not in STATUSES), None)
    if strange is not None:
        raise ScorerError(f"{scorer}: the judge gave the status {strange!r}, which is not one of {STATUSES}")
    return [answers[index] for index in where]


def tell(asked: QuestionPrompt, answer: Answer, soft: bool = False) -> QuestionResult:
    """What an answer is worth.

    `soft` counts probabilities where the reader gave them: `right` is that of the right option, `abstained` that of
    abstaining. A forced question has no abstaining: the options share its probability, and a reader that abstains is
    taken to have chosen the most probable option where it told probabilities.
    """
    if answer.status != "ok":
        return QuestionResult(answer.status if answer.status not in SCORED else "unparseable")
    options = asked.shown.options
    right = [option.strip() == asked.question.answer.strip() for option in options]
    chances = _chances(answer, len(options), asked.forced)
    if answer.abstained or (asked.abstain is not None and answer.option == asked.abstain):
        option = None
        if asked.forced and chances is not None:
            option = max(range(len(options)), key=lambda place: chances[place])
    elif answer.option is None or not 0 <= answer.option < len(options):
        return QuestionResult("unparseable")
    else:
        option = answer.option
    said = "" if option is None else options[option]
    if soft and chances is not None:
        abstained = chances[-1] + (chances[asked.abstain] if asked.abstain is not None else 0.0)
        return QuestionResult("ok", sum(c for c, is_right in zip(chances, right) if is_right), abstained, said)
    if option is None:
        return QuestionResult("ok", abstained=1.0)
    return QuestionResult("ok", right=float(right[option]), said=said)


def _chances(answer: Answer, options: int, forced: bool) -> tuple[float, ...] | None:
    """Probabilities of the options and of abstaining, summing to 1; None where they were not told, or not usably."""
    told = answer.probabilities
    if told is None or len(told) != options + 1 or not all(0 <= chance <= 1 + 1e-6 for chance in told):
        return None
    chances = (*told[:-1], 0.0) if forced else tuple(told)
    total = sum(chances)
    return tuple(chance / total for chance in chances) if total > 0 else None


def status_of(told: Sequence[QuestionResult]) -> str:
    """The status of a caption: "ok" when at least half of its questions are known, else what most of the others are."""
    failed = Counter(one.status for one in told if not one.known)
    if 2 * sum(failed.values()) <= len(told):
        return "ok"
    most = max(failed.values())
    return min(status for status, count in failed.items() if count == most)


def show(asked: QuestionPrompt, told: QuestionResult) -> dict[str, Any]:
    """A question and what came of it, for reports: JSON values.

    {"question", "kind", "options" (as shown), "answer", "said", "result": "right" | "wrong" | "abstained" | "unknown",
    "right": 0..1, "status"}. "right" is None where unknown.
    """
    if not told.known:
        result = "unknown"
    elif told.said and not asked.question.options:
        result = "right" if told.right else "wrong"
    elif told.said:
        result = "right" if told.said.strip() == asked.question.answer.strip() else "wrong"
    else:
        result = "abstained" if told.abstained else "wrong"
    return {
        "question": asked.question.text,
        "kind": asked.question.kind,
        "options": list(asked.shown.options),
        "answer": asked.question.answer,
        "said": told.said,
        "result": result,
        "right": told.right if told.known else None,
        "status": told.status,
    }
