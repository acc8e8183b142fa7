"""How scorers ask: a judge is opened and asked everything once; and scorers whose unit is a question.

A reader sees only the caption: that is what `caprl`, `captionqa` and `prism` have in common.
A question is answered right, answered wrong, left open (the reader abstains), or unknown: no answer could be had.
Unknown is never wrong. A caption is measured on the questions whose answers are known when these are at least half of
what was asked; with fewer it is unknown, with the status that most of its questions have.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from random import Random
from typing import Annotated, Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from capwright.judges.protocols import Answer, Evidence, Reader
from capwright.scorers.base import SCORED, Context, Corpus, Item, Scorer, Stats, item_status, ratio
from capwright.scorers.options import JUDGE, NamedJudge, Seed
from capwright.text.digest import fingerprint
from capwright.types import STATUSES, CapwrightError, DataError, Question, Sample, ScorerError, Status

#: Who answers: a judge by its name, or an object that is a reader.
ReaderOption = Annotated[NamedJudge | Reader, Field(description=JUDGE.format("Reader"))]
#: The first columns of a row of a `QuestionScorer`; then (credit, asked) of each kind of question. `asked` counts
#: questions that are known.
COLUMNS = ("right", "abstained", "credit", "asked", "unanswered")


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
        return self.status == Status.OK


#: What a caption without words tells about anything.
UNANSWERED = QuestionResult(Status.OK, abstained=1.0)


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


def ask_once(
    call: Callable[..., Sequence[Any]], asked: Sequence[Any], seed: int, scorer: str = "", what: str = "questions"
) -> list[Any]:
    """What a judge answers to each of `asked`, and None to None: in one call, in which nothing is asked twice.

    Raises ScorerError when it gives another number of answers; errors of its own pass through when they are
    CapwrightErrors (a server that is down).
    """
    keys = [tuple(one.items()) if isinstance(one, Mapping) else one for one in asked]
    once = {key: one for key, one in zip(keys, asked) if one is not None}
    who = f"{scorer}: the judge" if scorer else "the judge"
    try:
        answers = call(list(once.values()), seed=seed) if once else ()
    except CapwrightError:
        raise
    except Exception as error:
        raise ScorerError(f"{who} failed on {len(once)} {what}: {error}") from error
    if len(answers) != len(once):
        raise ScorerError(f"{who} gave {len(answers)} answers to {len(once)} {what}")
    found = dict(zip(once, answers))
    return [found.get(key) for key in keys]


def failure(status: object, otherwise: Status = Status.JUDGE_ERROR) -> str:
    """The status of an answer that is not "ok", as a status of a row; `otherwise` for one that no row can have."""
    return status if isinstance(status, str) and status in STATUSES and status not in SCORED else otherwise


def ask(reader: Reader, asked: Sequence[tuple[Evidence, QuestionPrompt]], seed: int, scorer: str) -> list[Answer]:
    """One answer for each (evidence, question). The reader never gets `Question.answer`. Raises as `ask_once`."""
    shown = [(evidence, replace(one.shown, answer="")) for evidence, one in asked]
    answers = ask_once(reader.answer, shown, seed, scorer)
    strange = next((answer.status for answer in answers if answer.status not in STATUSES), None)
    if strange is not None:
        raise ScorerError(f"{scorer}: the judge gave the status {strange!r}, which is not one of {STATUSES}")
    return answers


def tell(asked: QuestionPrompt, answer: Answer, soft: bool = False) -> QuestionResult:
    """What an answer is worth.

    `soft` counts probabilities where the reader gave them: `right` is that of the right option, `abstained` that of
    abstaining. A forced question has no abstaining: the options share its probability, and a reader that abstains is
    taken to have chosen the most probable option where it told probabilities.
    """
    if answer.status != Status.OK:
        return QuestionResult(failure(answer.status, Status.UNPARSEABLE))
    options = asked.shown.options
    right = [option.strip() == asked.question.answer.strip() for option in options]
    chances = _chances(answer, len(options), asked.forced)
    if answer.abstained or (asked.abstain is not None and answer.option == asked.abstain):
        option = None
        if asked.forced and chances is not None:
            option = max(range(len(options)), key=lambda place: chances[place])
    elif answer.option is None or not 0 <= answer.option < len(options):
        return QuestionResult(Status.UNPARSEABLE)
    else:
        option = answer.option
    said = "" if option is None else options[option]
    if soft and chances is not None:
        abstained = chances[-1] + (chances[asked.abstain] if asked.abstain is not None else 0.0)
        return QuestionResult(Status.OK, sum(c for c, is_right in zip(chances, right) if is_right), abstained, said)
    if option is None:
        return QuestionResult(Status.OK, abstained=1.0)
    return QuestionResult(Status.OK, right=float(right[option]), said=said)


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
        return Status.OK
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


@dataclass(frozen=True)
class QuestionContext(Context):
    """What was prepared: who reads, and which questions there are.

    Attributes:
        reader: signature of the reader.
        bank: the questions of the corpus.
    """

    reader: str
    bank: QuestionSet


Q = TypeVar("Q", bound=QuestionContext)


@dataclass(eq=False)
class ReadingScorer(Scorer[Q]):
    """Base of scorers that put questions to a judge.

    Args:
        judge: who answers: "lexical", "local:FOLDER", {"name": "http://host:port/v1", "model": ...}, or an object
            that is a `protocols.Reader`.
        seed: of what is drawn, and of the judge.
    """

    context_type: ClassVar[type[Context]] = QuestionContext

    judge: ReaderOption = "lexical"
    seed: Seed = 0

    @cached_property
    def reader(self) -> Reader:
        """Who answers; opened when first needed."""
        found: Reader = open_port(self.judge, Reader, self.spec.name, "answer questions")
        return found

    def fields(self, context: Q) -> Mapping[str, object]:
        """The questions that were asked ("118-2": two could not be), a digest of them, and who answered."""
        return dict(questions=context.bank.name, by=context.reader)


@dataclass(eq=False)
class QuestionScorer(ReadingScorer[QuestionContext]):
    """What `CapRL` and `CaptionQA` have in common; a scorer of its own by `plan`, `credit` and `outputs_of`.

    Rows, one a caption: (right, abstained, credit, asked, unanswered), then (credit, asked) for each kind of question
    that the corpus has. `asked` counts the questions whose answers are known, so that ratios are over these.
    """

    soft: bool = False

    # What a scorer is made of ------------------------------------------------------------------------------------

    def plan(self, item: Item, context: QuestionContext) -> list[QuestionPrompt]:
        """The questions that are asked about a caption."""
        raise ScorerError(f"{self.spec.name}: has no plan")

    def credit(self, asked: QuestionPrompt, told: QuestionResult) -> float:
        """What a known answer is worth, from 0 to 1."""
        return told.right

    def read(self, asked: QuestionPrompt, answer: Answer) -> QuestionResult:
        """What came of a question."""
        return tell(asked, answer, self.soft)

    def asks_about(self, caption: str) -> bool:
        """Whether the reader is asked about a caption; else it tells nothing, and every question is left open."""
        return bool(caption.strip())

    def setup(self) -> dict[str, Any]:
        """Options that can change a number, for the fingerprint and the signature."""
        return {}

    def outputs_of(self, summed: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        """The columns of the outputs of the spec, from sums [..., 5] in the order of `COLUMNS`."""
        raise ScorerError(f"{self.spec.name}: has no outputs")

    # What all of them do -----------------------------------------------------------------------------------------

    def prepare(self, corpus: Corpus) -> QuestionContext:
        """Gather the questions and open the judge; no judge is asked yet.

        Raises DataError when no sample has a question that can be asked, ScorerError for a judge that cannot
        answer questions.
        """
        bank = read_question_set(corpus.samples, self.spec.name)
        signature = self.reader.signature
        content = [self.spec.name, signature, bank.digest, self.seed, self.soft, self.setup()]
        outputs = (*self.spec.outputs, *(f"kind:{kind}" for kind in bank.kinds))
        return QuestionContext(self.spec.name, fingerprint(content), outputs, reader=signature, bank=bank)

    def stats(self, items: Sequence[Item], context: Context) -> Stats:
        """One row an item, see the class; zero where the sample has no question that can be asked, which is NaN.

        All questions of all items are put to the judge in one call. A caption with no words tells nothing: its
        questions are left open, without asking. Evidence: {"questions": [see `show`], "right", "abstained",
        "asked", "unanswered"}, also for captions that are unknown because too few answers could be had.
        """
        own = self.own_context(context)
        status = [item_status(item) for item in items]
        plans = [self.plan(item, own) if state in SCORED else [] for item, state in zip(items, status)]
        spoken = [bool(plan) and self.asks_about(item.caption) for item, plan in zip(items, plans)]
        pairs = [(item.caption, one) for item, plan, says in zip(items, plans, spoken) if says for one in plan]
        answers = iter(ask(self.reader, pairs, self.seed, self.spec.name))
        kind_column = {kind: len(COLUMNS) + 2 * i for i, kind in enumerate(own.bank.kinds)}
        rows = np.zeros((len(items), len(COLUMNS) + 2 * len(kind_column)))
        evidence: list[dict[str, Any] | None] = [None] * len(items)
        for index, (plan, says) in enumerate(zip(plans, spoken)):
            if not plan:
                continue
            told = [self.read(one, next(answers)) if says else UNANSWERED for one in plan]
            evidence[index] = _evidence(plan, told)
            if (state := status_of(told)) == Status.OK:
                self._fill(rows[index], plan, told, kind_column)
            else:
                status[index], rows[index, COLUMNS.index("unanswered")] = state, len(plan)
        return Stats.of(rows, status, evidence)

    def _fill(
        self,
        row: NDArray[np.float64],
        plan: Sequence[QuestionPrompt],
        told: Sequence[QuestionResult],
        kind_column: Mapping[str, int],
    ) -> None:
        for asked, one in zip(plan, told):
            if not one.known:
                row[4] += 1
                continue
            worth = self.credit(asked, one)
            row[:4] += one.right, one.abstained, worth, 1
            column = kind_column.get(asked.question.kind.strip())
            if column is not None:
                row[column : column + 2] += worth, 1

    def finalize(self, summed: NDArray[np.float64]) -> NDArray[np.float64]:
        """[..., 5 + 2K] -> [..., M + K] in the order of `context.outputs`; 0/0 is NaN."""
        summed = np.asarray(summed, dtype=np.float64)
        kinds = summed[..., len(COLUMNS) :]
        by_kind = [ratio(kinds[..., i], kinds[..., i + 1]) for i in range(0, kinds.shape[-1], 2)]
        return np.stack([*self.outputs_of(summed[..., : len(COLUMNS)]), *by_kind], axis=-1)


def _evidence(plan: Sequence[QuestionPrompt], told: Sequence[QuestionResult]) -> dict[str, Any]:
    return {
        "questions": [show(asked, one) for asked, one in zip(plan, told)],
        "right": sum(one.right for one in told),
        "abstained": sum(one.abstained for one in told),
        "asked": sum(one.known for one in told),
        "unanswered": sum(not one.known for one in told),
    }


def shares(summed: NDArray[np.float64], *columns: str) -> list[NDArray[np.float64]]:
    """Columns of sums over the questions that are known, then the share of questions without an answer."""
    table = dict(zip(COLUMNS, np.moveaxis(summed, -1, 0)))
    asked = table["asked"]
    return [*(ratio(table[name], asked) for name in columns), ratio(table["unanswered"], asked + table["unanswered"])]
