"""A plain function as a scorer: (caption, sample) -> a number, or None where it is not known."""

from __future__ import annotations

import hashlib
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from capwright.plugins import describe, home
from capwright.scorers.base import SCORED, Context, Item, Scorer, ScorerSpec, Stats, item_status
from capwright.types import CapwrightError, Sample, ScorerError

#: What is scored: a caption and its sample; None or NaN is unknown.
ScoreFunction = Callable[..., float | None]
_NAMED = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class FunctionScorer(Scorer[Context]):
    """The mean of what a function says of each caption.

    Rows are (value, 1), one a caption; a value that is None or NaN is unknown, with the status "unparseable". A caption
    that is unknown already (a refusal, say) is not shown to the function; an empty one is, as "".

    Args:
        function: called with the caption and its sample; keyword-only parameters are options of the scorer.
        name: in reports and recipes; by default that of the function.
        higher_is_better: None when neither direction is.
        options: values of keyword-only parameters.
    Raises:
        ScorerError: while it measures: names function and sample when the function raises, or gives what is no finite
            number.
    """

    def __init__(
        self,
        function: ScoreFunction,
        name: str | None = None,
        higher_is_better: bool | None = True,
        **options: Any,
    ) -> None:
        self.spec = ScorerSpec(
            name or function.__name__, version="1", outputs=("value",), ranges={}, higher_is_better=higher_is_better
        )
        self._options = {**_defaults(function), **options}
        self._call = partial(function, **self._options)
        self._place = home(function)
        self._source = source_digest(function)

    def fields(self, context: Context) -> Mapping[str, object]:
        """Which function it is, its options, and a digest of the file that it is written in."""
        self.own(context)
        return {"function": self._place, **self._options, "source": self._source}

    def stats(self, items: Sequence[Item], context: Context) -> Stats:
        """See `Scorer.stats`; one row a caption."""
        self.own(context)
        rows, found = np.zeros((len(items), 2)), []
        for row, item in zip(rows, items):
            status = item_status(item)
            value = self._value(item.caption, item.sample) if status in SCORED else math.nan
            if not math.isnan(value):
                row[:] = value, 1.0
            found.append("unparseable" if status in SCORED and math.isnan(value) else status)
        return Stats(rows, np.arange(len(items)), tuple(found), (None,) * len(items))

    def _value(self, caption: str, sample: Sample) -> float:
        try:
            value = self._call(caption, sample)
            number = math.nan if value is None else float(value)
        except CapwrightError:
            raise
        except Exception as error:
            raise self._failed(sample, describe(error)) from error
        if math.isinf(number):
            raise self._failed(sample, f"gave {value}; give a finite number, or None where it is not known")
        return number

    def _failed(self, sample: Sample, why: str) -> ScorerError:
        return ScorerError(f"{self.spec.name}: {self._place} of sample {sample.id!r}: {why}")


def as_scorer(
    function: ScoreFunction, name: str | None = None, higher_is_better: bool | None = True
) -> Callable[..., Scorer]:
    """What makes a scorer of a function when it is called with options; see `FunctionScorer`.

    >>> def words(caption, sample):
    ...     return len(caption.split())
    >>> as_scorer(words)().spec.headline
    'value'
    """

    signature = inspect.Signature(_options(function))

    def make(**options: Any) -> Scorer:
        signature.bind(**options)  # TypeError where one is missing
        return FunctionScorer(function, name, higher_is_better, **options)

    make.__signature__ = signature  # type: ignore[attr-defined]
    make.__annotations__ = {key: hint for key, hint in function.__annotations__.items() if key in signature.parameters}
    return make


def is_score(thing: Any) -> bool:
    """Whether a thing is a function (caption, sample), and not one that makes a scorer."""
    if not inspect.isfunction(thing):
        return False
    given = inspect.signature(thing).parameters.values()
    return sum(one.kind in _NAMED and one.default is inspect.Parameter.empty for one in given) >= 2


def source_digest(function: ScoreFunction) -> str:
    """8 hex digits of a SHA-256 over the file that a function is written in; over its code where there is none."""
    try:
        text = inspect.getsource(inspect.getmodule(function) or function)
    except (OSError, TypeError):
        text = repr((function.__code__.co_code, function.__code__.co_consts))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _options(function: ScoreFunction) -> list[inspect.Parameter]:
    given = inspect.signature(function).parameters.values()
    return [one for one in given if one.kind is inspect.Parameter.KEYWORD_ONLY]


def _defaults(function: ScoreFunction) -> dict[str, Any]:
    return {one.name: one.default for one in _options(function) if one.default is not inspect.Parameter.empty}
