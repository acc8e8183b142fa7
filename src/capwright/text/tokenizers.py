"""How text becomes words: tokenizers by name, each with a memory, so that several metrics cut a caption once.

Whatever the tokenizer, white space is collapsed before it runs: a stray carriage return or U+2028 is a space, never the
end of a caption. A tokenizer can also give words as whole numbers (`codes`), which is what n-gram counting works on.
"""

from __future__ import annotations

import difflib
import re
import threading
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from capwright.types import ScorerError

#: Names that `get_tokenizer` knows: our PTB, the Java original, white space only, and words of any language.
TokenizerName = Literal["ptb", "ptb-java", "split", "words"]
TOKENIZERS: tuple[str, ...] = get_args(TokenizerName)

#: A memory with this many characters of text is dropped whole before the next call. 100,000 COCO captions with five
#: references each fit in (32 million characters, 120 MB).
_MEMORY_LIMIT = 40_000_000

#: White space but the no-break space, which PTB tokenizers write inside a mixed number ("1 1/2").
_BETWEEN_TOKENS = re.compile(r"[^\S\xa0]+")

_Cut = Callable[[Sequence[str]], Sequence[Sequence[str]]]


def collapse(text: str) -> str:
    """The text with every run of Unicode white space and line separators as one space, and none at the ends.

    >>> collapse("a cat\\r\\n on\\u2028a mat ")
    'a cat on a mat'
    """
    return " ".join(text.split())


@dataclass(frozen=True, slots=True)
class Coded:
    """Texts as whole numbers: equal tokens have equal codes, within this record only.

    Attributes:
        codes: int32 [T], the tokens of all texts in order.
        lengths: int64 [N], tokens of each text; they sum to T.
        words: the token of each code. It may grow later, and hold words that are not in these texts; do not change it.
    """

    codes: NDArray[np.int32]
    lengths: NDArray[np.int64]
    words: list[str]


class Tokenizer:
    """Cuts texts into tokens and remembers them.

    Args:
        name: what stands in signatures ("ptb-py.1", "split"); changes whenever the same text could be cut otherwise.
        cut: tokens of each text.
        cut_piece: tokens of what is between spaces; with `is_by_pieces`, for tokenizers that nearly always cut each
            piece by itself. Texts have few different pieces, so this is far faster.
        is_by_pieces: whether a collapsed text is cut so; `cut` is for the others.
    """

    def __init__(
        self,
        name: str,
        cut: _Cut,
        cut_piece: Callable[[str], Sequence[str]] | None = None,
        is_by_pieces: Callable[[str], bool] = lambda text: True,
    ) -> None:
        self.name = name
        self._cut = cut
        self._cut_piece = cut_piece
        self._is_by_pieces = is_by_pieces
        self._lock = threading.Lock()
        self._forget()

    def __call__(self, texts: Sequence[str]) -> list[list[str]]:
        """Tokens of each text. A blank text has none."""
        with self._lock:
            coded = self._recall(texts)
            words = self._numbers.words
        return [list(map(words.__getitem__, memoryview(codes).cast("i"))) for codes in coded]

    def codes(self, texts: Sequence[str]) -> Coded:
        """The same as numbers: `words[codes]` are the tokens of all texts, one after the other."""
        with self._lock:
            coded = self._recall(texts)
            words = self._numbers.words
        lengths = np.fromiter(map(len, coded), dtype=np.int64, count=len(coded)) // 4
        return Coded(np.frombuffer(b"".join(coded), dtype=np.int32), lengths, words)

    def _recall(self, texts: Sequence[str]) -> list[bytes]:
        """Codes of each text, as the bytes of int32."""
        if self._characters >= _MEMORY_LIMIT:
            self._forget()
        memory = self._memory
        new = [text for text in dict.fromkeys(texts) if text not in memory]
        if not new:
            return list(map(memory.__getitem__, texts))
        coded = dict(zip(new, self._encode(new), strict=True))
        found = [memory[text] if text in memory else coded[text] for text in texts]
        for text, codes in coded.items():
            if self._characters >= _MEMORY_LIMIT:
                break
            memory[text] = codes
            self._characters += len(text)
        return found

    def _encode(self, texts: Sequence[str]) -> list[bytes]:
        """Codes of texts that are not remembered."""
        if self._cut_piece is None:
            return list(map(self._number, self._cut(texts)))
        found = []
        for text in texts:
            pieces = text.split()
            if self._is_by_pieces(" ".join(pieces)):
                found.append(b"".join(map(self._piece, pieces)))
            else:
                found += map(self._number, self._cut([text]))
        return found

    def _encode_piece(self, piece: str) -> bytes:
        assert self._cut_piece is not None
        return self._number(self._cut_piece(piece))

    def _number(self, tokens: Sequence[str]) -> bytes:
        return array("i", map(self._numbers.__getitem__, tokens)).tobytes()

    def _forget(self) -> None:
        # New objects, so that what earlier calls gave out stays as it was.
        self._memory: dict[str, bytes] = {}
        self._characters = 0
        self._numbers = _Numbers()
        self._piece = cache(self._encode_piece)


class _Numbers(dict[str, int]):
    """Words by number, which a word gets when it is first asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []

    def __missing__(self, word: str) -> int:
        self.words.append(word)
        self[word] = number = len(self)
        return number


@cache
def get_tokenizer(name: str) -> Tokenizer:
    """The tokenizer of that name, the same object for everybody in this process.

    * "ptb": Penn Treebank tokens in lower case without punctuation, as COCO captions are scored. No Java.
    * "ptb-java": the Java original of it, bit for bit.
    * "split": at white space, nothing else. For text that is tokenized already; a no-break space is inside a token.
    * "words": folded words of any language, as `normalize.tokens` cuts them.

    Raises ScorerError when the name is unknown, NotInstalledError when "ptb-java" finds no Java or no jar.
    """
    if name == "ptb":
        from capwright.text import ptb

        return Tokenizer(ptb.VERSION, _each(ptb.tokenize), ptb.cut_piece, ptb.is_by_pieces)
    if name == "ptb-java":
        from capwright.text.java import locate
        from capwright.text.java import ptb as java_ptb

        locate.require("ptb-java")  # now, not when it measures
        return Tokenizer(java_ptb.VERSION, lambda texts: java_ptb.tokenize([collapse(text) for text in texts]))
    if name == "split":
        return Tokenizer("split", lambda texts: [_split(text) for text in texts])
    if name == "words":
        from capwright.text import normalize

        return Tokenizer("words", _each(normalize.tokens))
    near = difflib.get_close_matches(str(name), TOKENIZERS, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ScorerError(f"there is no tokenizer {name!r}{hint} (tokenizers: {', '.join(TOKENIZERS)})")


def _each(cut: Callable[[str], Sequence[str]]) -> _Cut:
    """Tokens of each text, collapsed."""
    return lambda texts: [cut(collapse(text)) for text in texts]


def _split(text: str) -> list[str]:
    if "\xa0" not in text:
        return text.split()
    return [token for token in _BETWEEN_TOKENS.split(text) if token.strip("\xa0")]
