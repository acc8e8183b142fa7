"""METEOR 1.5 (Denkowski and Lavie, WMT 2014, W14-3348): alignment by the authors' program, scores and sums by us.

The program finds for each caption the reference it fits best and counts what matches: 23 numbers, which add up. From
these the score is a short formula, so that Java runs once for a caption, and intervals, tests and sums need none.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capwright.data.cache_dir import cache_folder
from capwright.scorers.base import (
    SCORED,
    Context,
    Corpus,
    Item,
    Scorer,
    ScorerSpec,
    Stats,
    item_status,
    ratio,
    references_of,
)
from capwright.scorers.ngram._ngrams import count_references
from capwright.text.digest import fingerprint
from capwright.text.java.locate import METEOR_JAR, require_meteor
from capwright.text.java.process import JAVA_OPTIONS, Conversation, JavaError, JavaTimeoutError, converse
from capwright.text.java.store import StatsRow, Store, digest
from capwright.text.tokenizers import get_tokenizer
from capwright.types import NotInstalledError, ScorerError, Status

#: Numbers the program gives for a caption.
WIDTH = 23
#: After so many captions in a row without an answer the rest of a batch is not asked.
_PATIENCE = 2

#: (references, caption), as they stand in a line.
_Question = tuple[str, str]
#: The numbers of a caption, or the status of one that has none.
_Answer = StatsRow | str
#: A question that every program that works can answer.
_EASY = "SCORE ||| a ||| a"

STAGES = ("exact", "stem", "synonym", "paraphrase")


@dataclass(frozen=True, slots=True)
class Parameters:
    """What the program is tuned to for a language, as it prints it: W14-3348 section 4 explains them.

    Attributes:
        alpha: weight of recall against precision; beta, gamma: form and size of the penalty for scattered matches;
            delta: weight of content words against function words.
        weights: of the stages in the order in which the program counts them; 0 where the language has fewer.
        stages: their names.
    """

    alpha: float
    beta: float
    gamma: float
    delta: float
    weights: tuple[float, float, float, float]
    stages: tuple[str, ...]


_THREE = ("exact", "stem", "paraphrase")
LANGUAGES = {
    "en": Parameters(0.85, 0.2, 0.6, 0.75, (1.0, 0.6, 0.8, 0.6), STAGES),
    "cz": Parameters(0.95, 0.2, 0.6, 0.8, (1.0, 0.4, 0.0, 0.0), ("exact", "paraphrase")),
    "de": Parameters(0.95, 1.0, 0.55, 0.55, (1.0, 0.8, 0.2, 0.0), _THREE),
    "es": Parameters(0.65, 1.3, 0.5, 0.8, (1.0, 0.8, 0.6, 0.0), _THREE),
    "fr": Parameters(0.9, 1.4, 0.6, 0.65, (1.0, 0.2, 0.4, 0.0), _THREE),
    "ru": Parameters(0.75, 1.4, 0.7, 0.5, (1.0, 0.5, 0.5, 0.0), _THREE),
}


@dataclass(frozen=True)
class METEORContext(Context):
    """How many references samples have ("5..7"); it stands in the signature."""

    references: str


class METEOR(Scorer[METEORContext]):
    """The scorer `meteor`: one output of the same name, from 0 to 1.

    Rows are the 23 numbers of the program: words of caption and reference, function words of both; for each of four
    stages the matched content and function words of both; chunks, and matched words of both. METEOR of a corpus is the
    formula on their sum, not the mean over captions. The chunk of a caption that is its reference word for word does
    not count (`without_whole_chunks`).

    Rows are kept by content (`store.Store`), so a caption is measured once; with all captions known no Java is started.
    A caption without an answer in time has the status "timeout"; one on which the program breaks twice, while it can
    answer other questions, "judge_error". Both are unknown, with a warning.

    Args:
        tokenizer: a name that `tokenizers.get_tokenizer` knows; "split" for languages other than English.
        language: one of `LANGUAGES`. English comes with pycocoevalcap; others need data/paraphrase-LANGUAGE.gz beside
            the jar.
        timeout: seconds for a caption, above 0; the first one has two minutes more to load the tables.
        memory: for Java, as its option -Xmx writes it ("2G").
        cache: whether rows are kept on disk. Switch it off in long trainings, where captions hardly come twice.

    Raises:
        ScorerError: a bad option; from `stats`, a program that answers nothing at all. NotInstalledError comes from
        `prepare`, and from `stats` when the program is missing and a caption is not among the kept ones.
    """

    context_type = METEORContext

    def __init__(
        self,
        *,
        tokenizer: str = "ptb",
        language: str = "en",
        timeout: float = 60.0,
        memory: str = "2G",
        cache: bool = True,
    ) -> None:
        if language not in LANGUAGES:
            raise ScorerError(f"meteor: language must be one of {', '.join(LANGUAGES)}, not {language!r}")
        self._timeout = check_timeout("meteor", timeout)
        self._memory = check_memory("meteor", memory)
        self._tokenizer = get_tokenizer(tokenizer)
        self._language = language
        self._store = Store("meteor", WIDTH, cache_folder() if cache else None)
        self.spec = ScorerSpec(
            name="meteor",
            version="1",
            outputs=("meteor",),
            ranges={"meteor": (0.0, 1.0)},
            needs=frozenset({"references", "java"}),
            cost="model",
        )

    def prepare(self, corpus: Corpus) -> METEORContext:
        """Look for Java and the jar, and count references. Nothing is started.

        Raises DataError when no sample has references, NotInstalledError when Java or the jar is missing and no
        captions of these samples are kept from earlier.
        """
        references = count_references(corpus, "meteor")
        try:
            require_meteor(self._language)
        except NotInstalledError:
            asked = self._questions([Item(sample, "") for sample in corpus.samples], [Status.OK] * len(corpus.samples))
            if not self._store.knows([self._half_key(meant) for meant, _ in asked.values()]):
                raise
        mark = fingerprint(["meteor", self._language, self._tokenizer.name])
        return METEORContext("meteor", mark, self.spec.outputs, references)

    def stats(self, items: Sequence[Item], context: Context) -> Stats:
        """One row an item; all zero, which `finalize` makes NaN, where the sample has no references with words."""
        status = [item_status(item) for item in items]
        questions = self._questions(items, status)
        answers = self._answers({question: items[index].sample.id for index, question in questions.items()})
        rows = np.zeros((len(items), WIDTH))
        for index, question in questions.items():
            answer = answers[question]
            if isinstance(answer, str):
                status[index] = answer
            else:
                rows[index] = answer
        return Stats(without_whole_chunks(rows), np.arange(len(items)), tuple(status), (None,) * len(items))

    def finalize(self, summed: NDArray[np.float64]) -> NDArray[np.float64]:
        """[..., 23] -> [..., 1]; 0 when nothing matches, NaN when there is nothing at all."""
        own = LANGUAGES[self._language]
        s = np.asarray(summed, dtype=np.float64)
        said, meant, said_function, meant_function = (s[..., index] for index in range(4))
        matches = s[..., 4:20].reshape(*s.shape[:-1], 4, 4)
        # A word counts delta when it is a content word and 1 - delta when it is a function word.
        matched = matches[..., :2] * own.delta + matches[..., 2:] * (1 - own.delta)
        weighted = (np.array(own.weights)[:, None] * matched).sum(axis=-2)
        precision = _share(weighted[..., 0], said, said_function, own.delta)
        recall = _share(weighted[..., 1], meant, meant_function, own.delta)
        mean = ratio(precision * recall, own.alpha * precision + (1 - own.alpha) * recall)
        scattered = np.nan_to_num(ratio(2 * s[..., 20], s[..., 21] + s[..., 22]))
        score = np.nan_to_num(mean) * (1 - own.gamma * scattered**own.beta)
        return np.where(said + meant > 0, score, np.nan)[..., None]

    def fields(self, context: Context) -> dict[str, object]:
        """`meteor|jar:1.5|lang:en|norm:yes|tok:ptb-py.1|ws:collapse|bars:removed|refs:5..7|v:1`."""
        context = self.own(context)
        return dict(
            jar="1.5",
            lang=self._language,
            norm="yes",
            tok=self._tokenizer.name,
            ws="collapse",
            bars="removed",
            refs=context.references,
        )

    def explain(self, items: Sequence[Item], context: Context) -> list[dict[str, Any] | None]:
        """For each caption {"words", "reference_words", "matched": {stage: words}, "chunks"}; None where unknown."""
        stats = self.stats(items, context)
        stages = LANGUAGES[self._language].stages
        found: list[dict[str, Any] | None] = []
        for row, known in zip(stats.rows.tolist(), stats.known.tolist()):
            if not known or not row[0] + row[1]:
                found.append(None)
                continue
            matched = {stage: row[4 + 4 * nth] + row[6 + 4 * nth] for nth, stage in enumerate(stages)}
            found.append({"words": row[0], "reference_words": row[1], "matched": matched, "chunks": row[20]})
        return found

    def _questions(self, items: Sequence[Item], status: Sequence[str]) -> dict[int, _Question]:
        """What is asked about which item. `|||` separates texts in a line, so it is taken out of all of them."""
        wanted = [index for index, item in enumerate(items) if status[index] in SCORED and references_of(item.sample)]
        texts = dict.fromkeys(
            text for index in wanted for text in (items[index].caption, *items[index].sample.references)
        )
        clean = {text: _clean(tokens) for text, tokens in zip(texts, self._tokenizer(list(texts)))}
        questions = {}
        for index in wanted:
            meant = " ||| ".join(clean[text] for text in items[index].sample.references if clean[text])
            if meant:
                questions[index] = (meant, clean[items[index].caption])
        return questions

    def _half_key(self, meant: str) -> bytes:
        return digest("meteor-1.5", self._language, "norm", meant)

    def _answers(self, questions: Mapping[_Question, str]) -> dict[_Question, _Answer]:
        """The answer to each question; the questions come with the id of a sample that they are about."""
        keys = {(meant, said): self._half_key(meant) + digest(said) for meant, said in questions}
        kept = self._store.get(list(keys.values()))
        known: dict[_Question, _Answer] = {asked: kept[key] for asked, key in keys.items() if key in kept}
        new = {asked: id for asked, id in questions.items() if asked not in known}
        if new:
            measured: dict[_Question, _Answer] = {}
            try:
                self._measure(new, measured)
            finally:
                # Also after Ctrl-C: what was measured is not lost.
                self._store.put({keys[asked]: row for asked, row in measured.items() if not isinstance(row, str)})
            known |= measured
        return known

    def _measure(self, questions: Mapping[_Question, str], measured: dict[_Question, _Answer]) -> None:
        program = self._program()
        in_a_row = 0
        for (meant, said), id in questions.items():
            measured[meant, said] = Status.TIMEOUT
            if in_a_row == _PATIENCE:
                continue
            try:
                measured[meant, said] = self._ask(program, f"SCORE ||| {meant} ||| {said}")
                in_a_row = 0
            except JavaTimeoutError as error:
                in_a_row += 1
                rest = (
                    f"; after {_PATIENCE} in a row the rest of the batch is not asked" if in_a_row == _PATIENCE else ""
                )
                what = f'{error}; the caption of sample "{id}" is unknown (status timeout){rest}'
                warnings.warn(what, RuntimeWarning, stacklevel=4)
            except JavaError as error:
                try:
                    self._ask(program, _EASY)
                except JavaError:
                    raise error from None  # it is not the caption: the program does not work
                measured[meant, said] = Status.JUDGE_ERROR
                in_a_row = 0
                what = f'{error}\nThe caption of sample "{id}" is unknown (status judge_error). It has '
                what += f"{len(said.split()):,} words: {said[:80]!r}. Shorten it, or give Java more memory (option "
                what += f"memory, now {self._memory})"
                warnings.warn(what, RuntimeWarning, stacklevel=4)

    def _ask(self, program: Conversation, line: str) -> StatsRow:
        return _numbers(program, program.ask(line, self._timeout))

    def _program(self) -> Conversation:
        java, jar, table = require_meteor(self._language)
        # Relative names: the program itself does not find its table when there is a space in the path.
        command = [str(java.path), *JAVA_OPTIONS, f"-Xmx{self._memory}", "-jar", METEOR_JAR]
        command += ["-", "-", "-stdio", "-l", self._language, "-norm", "-a", table.name]
        return converse("meteor", command, {METEOR_JAR: jar, table.name: table})


def without_whole_chunks(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows [..., 23] of captions in which the chunk of one that matches its reference whole, in one piece, is 0.

    The program takes no penalty from such a caption, and leaves its chunk out when it adds captions up.
    """
    whole = (rows[..., 21] == rows[..., 0]) & (rows[..., 22] == rows[..., 1]) & (rows[..., 20] == 1)
    settled = rows.copy()
    settled[..., 20][whole] = 0
    return settled


def check_timeout(scorer: str, timeout: float) -> float:
    """Seconds above 0, finite; ScorerError otherwise."""
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 < timeout < 1e9:
        raise ScorerError(f"{scorer}: timeout must be seconds above 0, not {timeout!r}")
    return float(timeout)


def check_memory(scorer: str, memory: str) -> str:
    """A size as Java's -Xmx takes it; ScorerError otherwise."""
    text = str(memory)
    if not (text[:-1].isascii() and text[:-1].isdigit() and int(text[:-1]) and text[-1] in "kKmMgG"):
        raise ScorerError(f'{scorer}: memory must be a size such as "2G" or "800M", not {memory!r}')
    return text


def _clean(tokens: Sequence[str]) -> str:
    # Only plain spaces are cut at: a no-break space inside a token is for the program to judge.
    return " ".join(word for word in " ".join(tokens).replace("|||", "").split(" ") if word)


def _numbers(program: Conversation, answer: str) -> StatsRow:
    try:
        row = np.array([float(number) for number in answer.split()])
    except ValueError:
        row = np.empty(0)
    if len(row) != WIDTH or not (np.isfinite(row) & (row >= 0)).all():
        program.close()  # it is out of step
        raise JavaError(f"meteor: java answered with something else than {WIDTH} numbers: {answer[:200]!r}")
    return row


def _share(
    matched: NDArray[np.float64], words: NDArray[np.float64], function: NDArray[np.float64], delta: float
) -> NDArray[np.float64]:
    return np.nan_to_num(ratio(matched, delta * (words - function) + (1 - delta) * function))
