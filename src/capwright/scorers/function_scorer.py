"""A function as a scorer: what it says of a caption is the score of the caption, and the mean that of a corpus."""

from __future__ import annotations

import hashlib
import inspect
import marshal
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Real
from typing import Any

from capwright import plugins
from capwright.judges.protocols import StatusWithReason
from capwright.scorers.base import Context, Corpus, Item, ItemStats, Scorer, ScorerSpec
from capwright.scorers.options import check_options, measures_captions
from capwright.types import OutageError, ScorerError, Status

_UNBOUNDED = (-math.inf, math.inf)


class FunctionScorer(Scorer[Context]):
    """A function of (caption, sample) with its options; see `as_scorer`."""

    def __init__(self, function: Callable[..., Any], spec: ScorerSpec, options: Mapping[str, Any]) -> None:
        self.function, self.spec = function, spec
        self.options = check_options(spec.name, function, options)
        self._place = plugins.home(function)
        defaults = inspect.signature(function).parameters.values()
        self._all_options = {p.name: p.default for p in list(defaults)[2:] if p.default is not p.empty} | self.options

    def with_options(self, **options: Any) -> FunctionScorer:
        """The same function with other options. Raises ScorerError for those that it does not have."""
        return FunctionScorer(self.function, self.spec, {**self.options, **options})

    def prepare(self, corpus: Corpus) -> Context:
        """Nothing to learn; the corpus is not read."""
        return self.make_context([self.spec.name, self._place, str(self._all_options), source_digest(self.function)])

    def measure(self, items: Sequence[Item], context: Context) -> Iterator[ItemStats]:
        """Rows (value, 1). Raises ScorerError when the function fails, or gives what is neither a number nor None."""
        for item in items:
            try:
                value = self.function(item.caption, item.sample, **self.options)
                value = float(value) if isinstance(value, Real) else value
            except OutageError:
                raise
            except Exception as error:
                raise self._error(item, f"failed: {plugins.describe(error)}") from error
            if value is None or (isinstance(value, Real) and math.isnan(value)):
                yield ItemStats(None, StatusWithReason(Status.UNPARSEABLE, f"{self._place} gave {value}"))
            elif isinstance(value, Real) and math.isfinite(value):
                yield ItemStats((float(value), 1.0))
            else:
                raise self._error(item, f"must return a finite number, or None where it is unknown, not {value!r}")

    def fields(self, context: Context) -> dict[str, object]:
        """`polite|function:my_metrics.polite|least:2|source:3f2a1b7c|v:1`, with a digest of the file it stands in."""
        options = {key: str(value).replace("|", "/") for key, value in self._all_options.items()}
        return dict(function=self._place, **options, source=source_digest(self.function))

    def _error(self, item: Item, problem: str) -> ScorerError:
        return ScorerError(f"{self.spec.name}: sample {item.sample.id!r}: {self._place} {problem}")


def as_scorer(
    function: Callable[..., Any],
    name: str | None = None,
    higher_is_better: bool | None = True,
    range: tuple[float, float] = _UNBOUNDED,
    **options: Any,
) -> FunctionScorer:
    """A scorer made of a function.

    Args:
        function: called with the text of a caption and its `Sample`, gives a number, or None (or NaN) where the score
            is unknown. Its further parameters are options, checked by their type hints.
        name: of the scorer and its one output; by default that of the function.
        higher_is_better: None when neither direction is.
        range: lowest and highest value; as a reward these become 0 and 1. Unbounded by default.
        options: of the function.

    Captions that are unknown are not shown to it, blank ones are. The signature has its module, name and options and a
    digest of the file that it is written in. Raises ScorerError when it does not take a caption and a sample, or has no
    such option.

    >>> as_scorer(lambda caption, sample: caption.count("!"), name="shouts").spec.outputs
    ('shouts',)
    """
    if not callable(function) or not measures_captions(function):
        raise ScorerError(f"{function!r} is no scorer: write it as a function of (caption, sample)")
    name = str(name or getattr(function, "__name__", type(function).__name__))
    if not name.replace("-", "_").isidentifier():
        raise ScorerError(f"a scorer cannot be called {name!r}; give it a name of letters and digits")
    about = (inspect.getdoc(function) or "").partition("\n")[0].rstrip(".")
    spec = ScorerSpec(name, ranges={name: range}, higher_is_better=higher_is_better, about=about)
    return FunctionScorer(function, spec, options)


def source_digest(function: Callable[..., Any]) -> str:
    """8 hex digits that stand for the file a function is written in; for its code where there is no file."""
    try:
        source = inspect.getsource(inspect.getmodule(function) or type(function)).encode()
    except (OSError, TypeError):
        source = marshal.dumps(getattr(function, "__code__", repr(function)))
    return hashlib.sha256(source).hexdigest()[:8]
