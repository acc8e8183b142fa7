"""Scorers as far as this machine has them: what is not installed is said, and never measured as 0."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from capwright.evaluation.evaluate import prepare_scorers
from capwright.scorers import Context, Scorer, get_scorer
from capwright.scorers.registry import options_of
from capwright.text.tokenizers import TOKENIZERS
from capwright.types import NotInstalledError, Sample, ScorerError, Vocabulary

T = TypeVar("T")
#: scorer -> why it is not there.
Absent = dict[str, str]


def make_installed(
    scorers: Iterable[str | Scorer],
    options: Mapping[str, Mapping[str, Any]] | None = None,
    tokenizer: str | None = None,
) -> tuple[list[Scorer], Absent]:
    """Scorers of these names with these options; `tokenizer` is for every scorer that has that option.

    Raises ScorerError when a name or an option is unknown, a scorer is named twice, options are of another scorer, or
    nothing is left.
    """
    if tokenizer is not None and tokenizer not in TOKENIZERS:
        raise ScorerError(f"there is no tokenizer {tokenizer!r} (tokenizers: {', '.join(TOKENIZERS)})")
    given = list(scorers)
    for name in options or ():
        if name not in given:
            raise ScorerError(f"{name}: has options but is not among the scorers; add it or leave its options out")
    made: list[Scorer] = []
    absent: Absent = {}
    for scorer in given:
        name = scorer if isinstance(scorer, str) else scorer.spec.name
        if name in absent or any(name == other.spec.name for other in made):
            raise ScorerError(f"{name}: named twice; measure with each scorer once")
        try:
            made.append(_make(scorer, options or {}, tokenizer) if isinstance(scorer, str) else scorer)
        except NotInstalledError as error:
            absent[name] = _reason(name, error)
    if not made:
        why = "".join(f"; {name}: {text}" for name, text in absent.items())
        raise ScorerError(f"there is nothing to measure with{why or '; name a scorer'}")
    return made, absent


def measure_installed(
    samples: Sequence[Sample],
    scorers: Iterable[Scorer],
    vocabulary: Vocabulary | None,
    measure: Callable[[Sequence[tuple[Scorer, Context]]], T],
) -> tuple[T, Absent]:
    """`measure` with scorers prepared on these samples, as `prepare_scorers` makes them, as far as they are installed.

    It is called once more without a scorer that turns out not to be installed only when it is asked: METEOR needs no
    Java for captions that it has measured before, and notices at a new one that there is none.

    Raises ScorerError when nothing is left to measure with.
    """
    left: list[tuple[Scorer, Context]] = []
    absent: Absent = {}
    for scorer in scorers:
        try:
            left += prepare_scorers(samples, [scorer], vocabulary)
        except NotInstalledError as error:
            absent[scorer.spec.name] = _reason(scorer.spec.name, error)
    while left:
        try:
            return measure(left), absent
        except NotInstalledError as error:
            name = next((s.spec.name for s, _ in left if str(error).startswith(f"{s.spec.name}:")), None)
            if name is None:
                raise
            absent[name] = _reason(name, error)
            left = [(scorer, context) for scorer, context in left if scorer.spec.name != name]
    raise ScorerError("there is nothing to measure with" + "".join(f"; {name}: {why}" for name, why in absent.items()))


def _make(name: str, options: Mapping[str, Mapping[str, Any]], tokenizer: str | None) -> Scorer:
    own = dict(options.get(name, {}))
    if tokenizer is not None and "tokenizer" in options_of(name):
        own.setdefault("tokenizer", tokenizer)
    return get_scorer(name, **own)


def _reason(name: str, error: NotInstalledError) -> str:
    return str(error).removeprefix(f"{name}: ")
