"""What scorers share that look at words: how texts are cut, and that there are references to compare them with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, TypeVar

from capwright.scorers.base import C, Context, Corpus, Scorer, references_of
from capwright.text.tokenizers import Tokenizer, TokenizerName, get_tokenizer
from capwright.types import DataError


@dataclass(eq=False)
class WordScorer(Scorer[C]):
    """Base of scorers that cut texts into words.

    Args:
        tokenizer: a name that `tokenizers.get_tokenizer` knows.
    """

    tokenizer: TokenizerName = field(default="ptb", kw_only=True)

    def __post_init__(self) -> None:
        self._cut: Tokenizer = get_tokenizer(self.tokenizer)


@dataclass(frozen=True)
class ReferenceContext(Context):
    """How many references samples have ("5..7"), for signatures."""

    references: str


R = TypeVar("R", bound=ReferenceContext)


class ReferenceScorer(WordScorer[R]):
    """Base of scorers that hold words of captions against words of references."""

    context_type: ClassVar[type[Context]] = ReferenceContext

    def prepare(self, corpus: Corpus) -> R:
        """Count references, for the signature. Raises DataError when no sample has any."""
        content = [self.spec.name, *self._content(), self._cut.name]
        return self.make_context(content, references=count_references(corpus, self.spec.name))

    def fields(self, context: R) -> Mapping[str, object]:
        """How texts are cut, and how many references samples have; those of a scorer come before."""
        return dict(tok=self._cut.name, ws="collapse", refs=context.references)

    def _content(self) -> Iterable[object]:
        """What else can change a number, for the fingerprint."""
        return ()


def count_references(corpus: Corpus, scorer: str) -> str:
    """How many references samples have (`references_of`), for signatures: "5" or "5..7"; samples without are left out.

    Raises DataError when no sample has any.
    """
    counts = {len(references_of(sample)) for sample in corpus.samples} - {0}
    if not counts:
        raise DataError(
            f"{scorer}: none of the {len(corpus.samples)} samples has a reference to compare captions with; "
            'add "references" to samples.jsonl, or give a file of references'
        )
    return str(min(counts)) if len(counts) == 1 else f"{min(counts)}..{max(counts)}"
