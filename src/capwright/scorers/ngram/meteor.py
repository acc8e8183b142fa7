"""METEOR 1.5 (Denkowski and Lavie, WMT 2014, W14-3348): alignment by the authors' program, scores and sums by us.

The program finds for each caption the reference it fits best and counts what matches: 23 numbers, which add up. From
these the score is a short formula, so that Java runs once for a caption, and intervals, tests and sums need none.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from capwright.data.row_store import StatsRow, digest
from capwright.scorers._java import Compared, JavaScorer
from capwright.scorers._words import ReferenceContext
from capwright.scorers.base import Context, Item, ScorerSpec, Stats, item_status, ratio
from capwright.text.java.locate import METEOR_JAR, PARAPHRASES, Java, require
from capwright.text.java.process import JAVA_OPTIONS, Conversation, JavaError, JavaTimeoutError, converse
from capwright.types import Status

#: Numbers the program gives for a caption.
WIDTH = 23
#: After so many captions in a row without an answer the rest of a batch is not asked.
_PATIENCE = 2

#: What stands between texts in a line.
_BAR = " ||| "
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


@dataclass(eq=False)
class METEOR(JavaScorer):
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

    spec = ScorerSpec(
        name="meteor",
        needs={"references", "java"},
        cost="model",
        about="words, stems, synonyms and paraphrases aligned with a reference, by the authors' Java program",
        source="W14-3348",
        titles={"meteor": "METEOR"},
    )

    language: Literal["en", "cz", "de", "es", "fr", "ru"] = "en"

    _kept = WIDTH

    def stats(self, items: Sequence[Item], context: Context) -> Stats:
        """One row an item; all zero, which `finalize` makes NaN, where the sample has no references with words."""
        status = list(map(item_status, items))
        compared = self._comparisons(items)
        answers = self._answers({one: items[index].sample.id for index, one in compared.items()})
        rows = np.zeros((len(items), WIDTH))
        for index, one in compared.items():
            answer = answers[one]
            if isinstance(answer, str):
                status[index] = answer
            else:
                rows[index] = answer
        return Stats.of(without_whole_chunks(rows), status)

    def finalize(self, summed: NDArray[np.float64]) -> NDArray[np.float64]:
        """[..., 23] -> [..., 1]; 0 when nothing matches, NaN when there is nothing at all."""
        own = LANGUAGES[self.language]
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

    def fields(self, context: ReferenceContext) -> Mapping[str, object]:
        """`meteor|jar:1.5|lang:en|norm:yes|tok:ptb-py.1|ws:collapse|bars:removed|refs:5..7|v:1`."""
        cut = dict(tok=self._cut.name, ws="collapse", bars="removed", refs=context.references)
        return dict(jar="1.5", lang=self.language, norm="yes", **cut)

    def explain(self, items: Sequence[Item], context: Context) -> list[dict[str, Any] | None]:
        """For each caption {"words", "reference_words", "matched": {stage: words}, "chunks"}; None where unknown."""
        stats = self.stats(items, context)
        stages = LANGUAGES[self.language].stages
        found: list[dict[str, Any] | None] = []
        for row, known in zip(stats.rows.tolist(), stats.known.tolist()):
            if not known or not row[0] + row[1]:
                found.append(None)
                continue
            matched = {stage: row[4 + 4 * nth] + row[6 + 4 * nth] for nth, stage in enumerate(stages)}
            found.append({"words": row[0], "reference_words": row[1], "matched": matched, "chunks": row[20]})
        return found

    def _require(self) -> tuple[Java, Path]:
        return require("meteor", self.language)

    def _content(self) -> tuple[str, ...]:
        return (self.language,)

    def _half_key(self, meant: Sequence[str]) -> bytes:
        return digest("meteor-1.5", self.language, "norm", _BAR.join(meant))

    def _clean(self, tokens: Sequence[str]) -> str:
        """`|||` separates texts in a line, so it is taken out of all of them."""
        # Only plain spaces are cut at: a no-break space inside a token is for the program to judge.
        return " ".join(word for word in " ".join(tokens).replace("|||", "").split(" ") if word)

    def _answers(self, asked: Mapping[Compared, str]) -> dict[Compared, _Answer]:
        """The answer to each comparison; they come with the id of a sample that they are about."""
        keys, kept = self._recall(asked)
        known: dict[Compared, _Answer] = dict(kept)
        new = {one: id for one, id in asked.items() if one not in known}
        if new:
            measured: dict[Compared, _Answer] = {}
            try:
                self._measure(new, measured)
            finally:
                # Also after Ctrl-C: what was measured is not lost.
                self._store.put({keys[one]: row for one, row in measured.items() if not isinstance(row, str)})
            known |= measured
        return known

    def _measure(self, asked: Mapping[Compared, str], measured: dict[Compared, _Answer]) -> None:
        program = self._program()
        in_a_row = 0
        for (said, meant), id in asked.items():
            measured[said, meant] = Status.TIMEOUT
            if in_a_row == _PATIENCE:
                continue
            try:
                measured[said, meant] = self._ask(program, _BAR.join(("SCORE", *meant, said)))
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
                measured[said, meant] = Status.JUDGE_ERROR
                in_a_row = 0
                what = f'{error}\nThe caption of sample "{id}" is unknown (status judge_error). It has '
                what += f"{len(said.split()):,} words: {said[:80]!r}. Shorten it, or give Java more memory (option "
                what += f"memory, now {self.memory})"
                warnings.warn(what, RuntimeWarning, stacklevel=4)

    def _ask(self, program: Conversation, line: str) -> StatsRow:
        return _numbers(program, program.ask(line, self.timeout))

    def _program(self) -> Conversation:
        java, jar = self._require()
        table = jar.parent / PARAPHRASES.format(self.language)
        # Relative names: the program itself does not find its table when there is a space in the path.
        command = [str(java.path), *JAVA_OPTIONS, f"-Xmx{self.memory}", "-jar", METEOR_JAR]
        command += ["-", "-", "-stdio", "-l", self.language, "-norm", "-a", table.name]
        return converse("meteor", command, {METEOR_JAR: jar, table.name: table})


def without_whole_chunks(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows [..., 23] of captions in which the chunk of one that matches its reference whole, in one piece, is 0.

    The program takes no penalty from such a caption, and leaves its chunk out when it adds captions up.
    """
    whole = (rows[..., 21] == rows[..., 0]) & (rows[..., 22] == rows[..., 1]) & (rows[..., 20] == 1)
    settled = rows.copy()
    settled[..., 20][whole] = 0
    return settled


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
