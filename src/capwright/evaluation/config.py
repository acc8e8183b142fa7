"""Everything that measuring can be told, in one object, and the scorers that follow from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from capwright.data.files import nearest
from capwright.evaluation.stats.intervals import How
from capwright.evaluation.stats.significance import TESTS
from capwright.scorers import Context, Corpus, Scorer, get_scorer
from capwright.scorers.registry import options_of
from capwright.text.tokenizers import TOKENIZERS
from capwright.types import DataError, NotInstalledError, Sample, ScorerError, Vocabulary

#: What is measured of captions on a dataset when nothing else is asked for.
EVAL_SCORERS = ("tts", "length")
#: What is measured of captions against references. METEOR needs Java and says so where there is none.
DEFAULT_SCORERS = ("bleu", "meteor", "rougeL", "ciderD", "length")
#: What becomes of an image that a system has no caption of.
MISSING_RULES = ("error", "skip", "empty")

#: A file of captions or of references, or what stands in one.
CaptionSource = str | Path | Mapping[Any, Any] | Sequence[Any]
#: A scorer with what it prepared.
Ruler = tuple[Scorer, Context]
#: scorer -> why it is not there.
Absent = dict[str, str]
T = TypeVar("T")


@dataclass(frozen=True)
class MeasureConfig(How):
    """How captions are measured, whichever way they come: on a dataset, against references, as stages of a run.

    Attributes:
        method, replicates, seed, level: of intervals, see `How`; the seed is that of the tests, too.
        scorers: names or scorers.
        options: scorer name -> its options.
        tokenizer, judge: for every scorer that has the option and was not given one of its own in `options`.
        vocabulary: of the domain; by default that of the dataset, or else the terms of the samples alone.
        missing: what becomes of images without a caption: "error", "skip" (unknown, in no score), "empty" (scored as a
            caption without words).
        cluster: a key of `Sample.meta`; samples with one value there (frames of a video, photos of a room) are left
            out, drawn and swapped together.
        test: of comparisons, see `compare`.
        comparisons: "all" scores of every system against the first, with p-values that are corrected, or "headlines" of
            scorers, each for itself.
        trained_on: system -> scorers that it was trained on; their scores say how well training worked, not more.
        by: keys of `Sample.meta` (or "split"): scores are also given for the samples of each value there.
        strip: measure captions without what is unmistakably a model's and no caption, see `data.model_text`.

    Raises DataError or ScorerError for a value that cannot be.
    """

    scorers: Sequence[str | Scorer] = EVAL_SCORERS
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tokenizer: str | None = None
    judge: Any = None
    vocabulary: Vocabulary | None = None
    missing: str = "skip"
    cluster: str | None = None
    test: str = "randomization"
    comparisons: str = "all"
    trained_on: Mapping[str, Iterable[str]] = field(default_factory=dict)
    strip: bool = False
    by: Sequence[str] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        for what, known in {"missing": MISSING_RULES, "test": TESTS, "comparisons": ("all", "headlines")}.items():
            if getattr(self, what) not in known:
                raise DataError(f"{what} must be one of {', '.join(known)}, not {getattr(self, what)!r}")
        if self.tokenizer is not None and self.tokenizer not in TOKENIZERS:
            raise ScorerError(f"there is no tokenizer {self.tokenizer!r} (tokenizers: {', '.join(TOKENIZERS)})")

    def make_scorers(self, absent: Absent | None = None) -> list[Scorer]:
        """The scorers with their options.

        Those that are not installed are put into `absent` with the reason; where it is None they are an error.

        Raises ScorerError when a name or an option is unknown, a scorer is named twice, or options are of another
        scorer.
        """
        names = [scorer if isinstance(scorer, str) else scorer.spec.name for scorer in self.scorers]
        for name, count in Counter(names).items():
            if count > 1:
                raise ScorerError(f"{name}: named twice; measure with each scorer once")
        for name in self.options:
            if name not in names:
                raise ScorerError(f"{name}: has options but is not among the scorers; add it or leave its options out")
        made: list[Scorer] = []
        for name, scorer in zip(names, self.scorers):
            try:
                made.append(self._make(scorer) if isinstance(scorer, str) else scorer)
            except NotInstalledError as error:
                leave_out(name, error, absent)
        return made

    def _make(self, name: str) -> Scorer:
        shared = {"tokenizer": self.tokenizer, "judge": self.judge}
        known = options_of(name)
        own = {option: value for option, value in shared.items() if value is not None and option in known}
        return get_scorer(name, **own | dict(self.options.get(name, {})))


def with_settings(config: T, settings: Mapping[str, Any]) -> T:
    """`config` with some of its fields changed. Raises TypeError for a name that is none of them."""
    known = [each.name for each in fields(config)]  # type: ignore[arg-type]
    for name in settings:
        if name not in known:
            raise TypeError(f"there is no setting {name!r}{nearest(name, known)}; there are {', '.join(known)}")
    return replace(config, **settings)  # type: ignore[type-var]


def prepare_scorers(
    samples: Sequence[Sample],
    scorers: Iterable[str | Scorer] = EVAL_SCORERS,
    vocabulary: Vocabulary | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Ruler]:
    """Scorers with contexts made from these samples, to be used for several systems.

    Args:
        samples: what will be measured; a Dataset brings its own vocabulary.
        scorers, vocabulary, options: see `MeasureConfig`.
    """
    config = MeasureConfig(scorers=tuple(scorers), vocabulary=vocabulary, options=options or {})
    return prepare(samples, config.make_scorers(), vocabulary)


def prepare(
    samples: Sequence[Sample], scorers: Iterable[Scorer], vocabulary: Vocabulary | None, absent: Absent | None = None
) -> list[Ruler]:
    """Scorers with contexts of these samples; those that are not installed as in `MeasureConfig.make_scorers`."""
    if vocabulary is None:
        vocabulary = getattr(samples, "vocabulary", None) or Vocabulary({})
    corpus = Corpus(samples, vocabulary)
    rulers = []
    for scorer in scorers:
        try:
            rulers.append((scorer, scorer.prepare(corpus)))
        except NotInstalledError as error:
            leave_out(scorer.spec.name, error, absent)
    return rulers


def leave_out(name: str, error: NotInstalledError, absent: Absent | None) -> None:
    """Note why a scorer is not there; without a place to note it, raise the error."""
    if absent is None:
        raise error
    absent[name] = str(error).removeprefix(f"{name}: ")
