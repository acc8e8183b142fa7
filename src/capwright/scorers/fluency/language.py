"""How well a caption is written: clarity, fluency, coherence, as BalCapRL grades them (arXiv 2605.07394).

The paper asks a language model; so does this scorer when it has a judge. Without one it measures what can be
measured by counting, which says less: docs/methods/language.md says how much less.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capwright.console import shown
from capwright.judges.protocols import Grade, Judge
from capwright.scorers._words import WordScorer
from capwright.scorers.base import SCORED, Context, Corpus, Item, ItemStats, ScorerSpec, item_status, ratio
from capwright.scorers.fluency._language_checks import CHECKS, Checks, learn_checks
from capwright.scorers.options import Seed
from capwright.types import STATUSES, DataError, Sample, ScorerError, Status

#: What is graded, in the order of the columns.
AXES = ("clarity", "fluency", "coherence")
#: Fewer texts than this say too little about a language.
_FEWEST_TEXTS = 20


@dataclass(frozen=True)
class LanguageContext(Context):
    """What captions are held against: checks learned from texts, or a judge; the other one is None."""

    checks: Checks | None
    judge: Judge | None
    texts: int


@dataclass(eq=False)
class Language(WordScorer[LanguageContext]):
    """The scorer `language`: means over captions, in [0, 1], higher is better.

        language (headline): the mean of the three below.
        clarity: it can be understood at once. Without a judge: flow * known * plain.
        fluency: its sentences are well-formed and end. Without a judge: flow * known * ending.
        coherence: it hangs together. Without a judge: flow * known * fresh.

    Without a judge a language model of three words in a row is learned from good captions of the corpus, and flow,
    known, ending, plain and fresh are checks between 0 and 1 (`language_checks`): 1 is what most of those captions
    reach, so no caption gains by being even more likely. Whether anything is true is not looked at. A caption that was
    cut off has an ending of 0. An empty caption scores 0.

    With a judge every caption that is not empty is graded by it; one that could not be graded is unknown.

    Args:
        judge: whom to ask: what `judges.load.load_judge` takes, or an object that grades
            (`protocols.Judge`); None: none.
        learn_from: where good captions are, without a judge: "references", "meta.<key>" (a text or a list of
            texts in `Sample.meta`), the path of a text file with one caption a line, or several of these. What is not
            in them counts as bad language: they should hold every manner of speaking that is welcome.
        tokenizer: a name that `tokenizers.get_tokenizer` knows; without a judge.
        seed: for the judge.
    """

    spec = ScorerSpec(
        name="language",
        outputs=(*AXES, "language"),
        unit="item|ctx",
        main="language",
        about="clarity, fluency and coherence: by a model of good captions, or by a judge",
        source="arXiv 2605.07394",
    )
    context_type = LanguageContext
    columns = (*AXES, "captions")

    judge: Any = None
    learn_from: str | Sequence[str] = "references"
    seed: Seed = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._sources = (self.learn_from,) if isinstance(self.learn_from, str) else tuple(self.learn_from)
        if not self._sources:
            raise ScorerError('language.learn_from: is empty; name "references", "meta.<key>" or a text file')
        for source in self._sources:
            if not _is_of_samples(source) and not Path(source).is_file():
                raise ScorerError(
                    f'language.learn_from: there is no file {source!r}; name "references", "meta.<key>" or a text file'
                )
        if self.judge is not None:
            self.spec = replace(self.spec, needs={"judge"}, unit="item", cost="calls")
        elif "references" in self._sources:
            self.spec = replace(self.spec, needs={"references"})

    def prepare(self, corpus: Corpus) -> LanguageContext:
        """Learn from the good captions of the corpus, or open the judge.

        Raises DataError when there are fewer than 20 good captions, or of fewer than 2 samples; ScorerError or
        ModelError when the judge is none or does not grade.
        """
        if self.judge is not None:
            judge = self._open()
            return self.make_context(["language", judge.signature, self.seed], checks=None, judge=judge, texts=0)
        groups = [good for sample in corpus.samples if (good := self._good(sample))]
        groups += [[line] for source in self._sources if not _is_of_samples(source) for line in _read_lines(source)]
        texts = sum(map(len, groups))
        if texts < _FEWEST_TEXTS or len(groups) < 2:
            raise DataError(
                f"language: learns what good language is from {' and '.join(self._sources)}, and needs {_FEWEST_TEXTS} "
                f"texts of at least 2 samples (or lines); there are {texts} of {len(groups)}. Give more, name "
                "others with learn_from, or let a judge grade"
            )
        try:
            checks = learn_checks(groups, self.tokenizer)
        except ValueError as error:
            raise DataError(f"language: {' and '.join(self._sources)}: {error}") from error
        known = sorted(hashlib.blake2b(repr(group).encode(), digest_size=16).hexdigest() for group in groups)
        content = [known, self._cut.name, self.spec.version]
        return self.make_context(content, checks=checks, judge=None, texts=texts)

    def measure(self, items: Sequence[Item], context: LanguageContext) -> Iterator[ItemStats]:
        """Rows (clarity, fluency, coherence, 1). Evidence with a judge: {"reason"} where it gave one."""
        spoken = [item for item in items if item_status(item) == Status.OK]
        found = iter(self._grade(spoken, context) if spoken else ())
        return (next(found) if item_status(item) == Status.OK else ItemStats((0, 0, 0, 1)) for item in items)

    def _grade(self, items: Sequence[Item], context: LanguageContext) -> list[ItemStats]:
        if context.judge is not None:
            grades = context.judge.grade(AXES, [item.caption for item in items], seed=self.seed)
            if len(grades) != len(items):
                raise ScorerError(f"language: the judge gave {len(grades)} grades for {len(items)} captions")
            return list(map(_read_grade, grades))
        assert context.checks is not None
        flow, known, ending, plain, fresh = context.checks.measure(items).T
        return [ItemStats((*row, 1)) for row in np.column_stack((plain, ending, fresh)) * (flow * known)[:, None]]

    def explain(self, items: Sequence[Item], context: Context) -> list[dict[str, Any] | None]:
        """Without a judge the checks of each caption, and "odd": the word that fits worst, up to two before it."""
        checks = self.own_context(context).checks
        if checks is None:
            return list(self.stats(items, context).evidence)
        return [checks.explain(item) if item_status(item) == Status.OK else None for item in items]

    def finalize(self, summed: NDArray[np.float64]) -> NDArray[np.float64]:
        """[..., 4] -> [..., 4] means (clarity, fluency, coherence, language); NaN without captions."""
        summed = np.asarray(summed, dtype=np.float64)
        axes = ratio(summed[..., : len(AXES)], summed[..., len(AXES) :])
        return np.concatenate((axes, axes.mean(-1, keepdims=True)), axis=-1)

    def fields(self, context: LanguageContext) -> dict[str, object]:
        """`language|learned:references/10000#3f2a0c1d|checks:flow,known,ending,plain,fresh|tok:ptb-py.1|v:1`.

        With a judge `language|judge:<its signature>|seed:0|v:1`.
        """
        if context.judge is not None:
            return {"judge": context.judge.signature, "seed": self.seed}
        sources = ",".join(source if _is_of_samples(source) else "file" for source in self._sources)
        learned = f"{sources}/{context.texts}#{context.fingerprint[:8]}"
        return {"learned": learned, "checks": ",".join(CHECKS), "tok": self._cut.name}

    def _open(self) -> Judge:
        judge = self.judge
        if isinstance(judge, (str, Mapping)):
            from capwright.judges.load import load_judge

            judge = load_judge(judge)
        if not callable(getattr(judge, "grade", None)) or not hasattr(judge, "signature"):
            raise ScorerError(f"language: the judge {self.judge!r} does not grade; it must be a ports.Judge")
        judge.grade(AXES, [], seed=self.seed)  # one that cannot grade says so now, not after the first captions
        return judge

    def _good(self, sample: Sample) -> list[str]:
        """The texts of a sample that are learned from."""
        found: list[str] = []
        for source in filter(_is_of_samples, self._sources):
            given: Any = sample.references
            if source != "references":
                given = sample.meta.get(source.removeprefix("meta."), ())
            texts = [given] if isinstance(given, str) else given
            if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
                raise DataError(f"sample {sample.id!r}: {source} must be a text or a list of texts, not {shown(given)}")
            found += [text for text in texts if text.strip()]
        return found


def _is_of_samples(source: str) -> bool:
    return source == "references" or source.startswith("meta.")


def _read_lines(path: str) -> list[str]:
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"language: {path} cannot be read as UTF-8 text: {error}") from error
    return [line.strip() for line in text.split("\n") if line.strip()]


def _read_grade(grade: Grade) -> ItemStats:
    """The row of a grade; a mark that is missing or no number from 0 to 1 cannot be used."""
    evidence = {"reason": grade.reason} if grade.reason else None
    if grade.status not in STATUSES:
        raise ScorerError(f"language: the judge gave the status {grade.status!r}; it must be one of {STATUSES}")
    if grade.status != Status.OK:
        return ItemStats((0, 0, 0, 1) if grade.status in SCORED else None, grade.status, evidence)
    marks = [grade.marks.get(axis, math.nan) for axis in AXES]
    if not all(isinstance(mark, (int, float)) and 0 <= mark <= 1 for mark in marks):
        return ItemStats(None, Status.UNPARSEABLE, evidence)
    return ItemStats((*marks, 1), evidence=evidence)
