"""What METEOR and SPICE share: Java programs that are asked once about a caption, with rows that are kept on disk."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from capwright.data.cache_dir import cache_folder
from capwright.data.row_store import StatsRow, Store, digest
from capwright.scorers._words import ReferenceContext, ReferenceScorer
from capwright.scorers.base import SCORED, Corpus, Item, item_status, references_of
from capwright.scorers.options import Seconds
from capwright.types import NotInstalledError

#: As Java's -Xmx takes it.
HeapSize = Annotated[str, Field(pattern="^[0-9]*[1-9][0-9]*[kKmMgG]$", description='a size such as "2G" or "800M"')]
#: (tokens of a caption, tokens of each reference that has some)
Compared = tuple[str, tuple[str, ...]]


@dataclass(eq=False)
class JavaScorer(ReferenceScorer[ReferenceContext]):
    """Base of scorers that ask a Java program."""

    timeout: Seconds = 60.0
    memory: HeapSize = "2G"
    cache: bool = True

    #: Numbers that are kept of a caption.
    _kept = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._store = Store(self.spec.name, self._kept, cache_folder() if self.cache else None)

    def prepare(self, corpus: Corpus) -> ReferenceContext:
        """Look for Java and the program, and count references. Nothing is started.

        Raises DataError when no sample has references, NotInstalledError when something is missing and no captions of
        these samples are kept from earlier.
        """
        made = super().prepare(corpus)
        try:
            self._require()
        except NotInstalledError:
            compared = self._comparisons([Item(sample, "") for sample in corpus.samples])
            if not self._store.knows([self._half_key(meant) for _, meant in compared.values()]):
                raise
        return made

    @abstractmethod
    def _require(self) -> object:
        """Where the program is. Raises NotInstalledError."""

    @abstractmethod
    def _half_key(self, meant: Sequence[str]) -> bytes:
        """What rows are kept under that were made with these references."""

    def _clean(self, tokens: Sequence[str]) -> str:
        """Tokens as the program gets them."""
        return " ".join(tokens)

    def _comparisons(self, items: Sequence[Item]) -> dict[int, Compared]:
        """What is asked about which item: those that have references with words."""
        wanted = [i for i, item in enumerate(items) if item_status(item) in SCORED and references_of(item.sample)]
        texts = dict.fromkeys(text for i in wanted for text in (items[i].caption, *items[i].sample.references))
        clean = {text: self._clean(tokens) for text, tokens in zip(texts, self._cut(list(texts)))}
        meant = {i: tuple(clean[text] for text in items[i].sample.references if clean[text]) for i in wanted}
        return {i: (clean[items[i].caption], those) for i, those in meant.items() if those}

    def _recall(self, asked: Iterable[Compared]) -> tuple[dict[Compared, bytes], dict[Compared, StatsRow]]:
        """The key of each comparison, and the rows of those that were kept."""
        keys = {(said, meant): self._half_key(meant) + digest(said) for said, meant in asked}
        kept = self._store.get(list(keys.values()))
        return keys, {one: kept[key] for one, key in keys.items() if key in kept}
