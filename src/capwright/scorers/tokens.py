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

import numpy as np
from numpy.typing import NDArray

from capwright.scorers.base import ScorerError

#: Names that `get_tokenizer` knows: our PTB, the Java original, white space only, and words of any language.
TOKENIZERS = ("ptb", "ptb-java", "split", "words")

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

    Attributes:
        name: what stands in signatures ("ptb-py.1", "split"); changes whenever the same text could be cut otherwise.
    """

    def __init__(self, name: str, cut: _Cut) -> None:
        self.name = name
        self._cut = cut
        self._lock = threading.Lock()
        self._forget()

    def __call__(self, texts: Sequence[str]) -> list[list[str]]:
        """Tokens of each text. A blank text has none."""
        with self._lock:
            coded = self._recall(texts)
            words = self._words
        return [[words[code] for code in memoryview(codes).cast("i")] for codes in coded]

    def codes(self, texts: Sequence[str]) -> Coded:
        """The same as numbers: `words[codes]` are the tokens of all texts, one after the other."""
        with self._lock:
            coded = self._recall(texts)
            words = self._words
        lengths = np.fromiter(map(len, coded), dtype=np.int64, count=len(coded)) // 4
        return Coded(np.frombuffer(b"".join(coded), dtype=np.int32), lengths, words)

    def _recall(self, texts: Sequence[str]) -> list[bytes]:
        """Codes of each text, as the bytes of int32."""
        if self._characters >= _MEMORY_LIMIT:
            self._forget()
        memory = self._memory
        new = [text for text in dict.fromkeys(texts) if text not in memory]
        if not new:
            return [memory[text] for text in texts]
        coded = dict(zip(new, map(self._encode, self._cut(new)), strict=True))
        found = [memory[text] if text in memory else coded[text] for text in texts]
        for text, codes in coded.items():
            if self._characters >= _MEMORY_LIMIT:
                break
            memory[text] = codes
            self._characters += len(text)
        return found

    def _encode(self, tokens: Sequence[str]) -> bytes:
        index, words = self._index, self._words
        for token in tokens:
            if token not in index:
                index[token] = len(words)
                words.append(token)
        return array("i", map(index.__getitem__, tokens)).tobytes()

    def _forget(self) -> None:
        # New objects, so that what earlier calls gave out stays as it was.
        self._memory: dict[str, bytes] = {}
        self._characters = 0
        self._index: dict[str, int] = {}
        self._words: list[str] = []


_MADE: dict[str, Tokenizer] = {}


def get_tokenizer(name: str) -> Tokenizer:
    """The tokenizer of that name, the same object for everybody in this process.

    * "ptb": Penn Treebank tokens in lower case without punctuation, as COCO captions are scored. No Java.
    * "ptb-java": the Java original of it, bit for bit.
    * "split": at white space, nothing else. For text that is tokenized already; a no-break space is inside a token.
    * "words": folded words of any language, as `folding.tokens` cuts them.

    Raises ScorerError when the name is unknown, NotInstalledError when "ptb-java" finds no Java or no jar.
    """
    if name not in _MADE:
        if name == "ptb":
            from capwright.scorers import ptb

            made = Tokenizer(ptb.VERSION, lambda texts: [ptb.tokenize(collapse(text)) for text in texts])
        elif name == "ptb-java":
            from capwright.scorers.java import locate
            from capwright.scorers.java import ptb as java_ptb

            locate.require_ptb()  # now, not when it measures
            made = Tokenizer(java_ptb.VERSION, lambda texts: java_ptb.tokenize([collapse(text) for text in texts]))
        elif name == "split":
            made = Tokenizer("split", lambda texts: [_split(text) for text in texts])
        elif name == "words":
            from capwright.scorers import folding

            made = Tokenizer("words", lambda texts: [folding.tokens(collapse(text)) for text in texts])
        else:
            near = difflib.get_close_matches(str(name), TOKENIZERS, n=1, cutoff=0.4)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ScorerError(f"there is no tokenizer {name!r}{hint} (tokenizers: {', '.join(TOKENIZERS)})")
        _MADE[name] = made
    return _MADE[name]


def _split(text: str) -> list[str]:
    if "\xa0" not in text:
        return text.split()
    return [token for token in _BETWEEN_TOKENS.split(text) if token.strip("\xa0")]
