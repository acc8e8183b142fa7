"""Fold text so that the same words look the same, and still know where they stood.

Folding is NFKC (full-width becomes half-width, ligatures fall apart), case folding, straight apostrophes, plain
hyphens, and no invisible format characters. Tokens are:

* words: letters, digits and combining marks of any script, apostrophes inside them kept, a possessive 's dropped;
* one token for every Chinese, Japanese or Korean character, because those scripts have no dependable word boundary;
* one token for every other visible character ("&", ",").

White space, hyphens, underscores and quotation apostrophes separate tokens and are not tokens: "geo-board" and
"geo board" are the same two tokens, "geo, board" is three.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_CJK = (
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U000323af"
)
_WORD = rf"[^\W_{_CJK}]"
_ASCII_TOKEN = re.compile(r"[a-z0-9]+(?:'[a-z0-9]+)*|[^\sa-z0-9_'\-]")
_TOKEN = re.compile(rf"{_WORD}+(?:'{_WORD}+)*|[{_CJK}]|[^\s\w'\-]")
_IS_WORD = re.compile(_WORD)

_APOSTROPHES = "\u2018\u2019\u201b\u02bc\u00b4\uff07"
_HYPHENS = "\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d"
_PLAIN = {ord(c): "'" for c in _APOSTROPHES} | {ord(c): "-" for c in _HYPHENS}


class Folded:
    """Folded text as tokens that know their place.

    Attributes:
        tokens: the folded tokens in order.
    """

    __slots__ = ("_ends", "_pattern", "_scanned", "_spans", "_starts", "tokens")

    def __init__(self, text: str) -> None:
        folded, scanned, starts, ends = _fold(text)
        self._scanned = scanned
        self._starts = starts
        self._ends = ends
        self._pattern = _ASCII_TOKEN if scanned.isascii() else _TOKEN
        self._spans: list[tuple[int, int]] | None = None
        if folded is scanned:
            self.tokens: list[str] = self._pattern.findall(folded)
        else:
            self._spans = [match.span() for match in self._pattern.finditer(scanned)]
            self.tokens = [folded[start:end] for start, end in self._spans]
        if "'" in scanned:
            self.tokens = [token[:-2] if token.endswith("'s") else token for token in self.tokens]

    def span(self, first: int, stop: int) -> tuple[int, int]:
        """(start, end) in the text as it was given of the tokens `first` to `stop` (exclusive, not empty).

        A possessive 's is outside the span. A character that folds into several (a ligature) is inside it whole.
        """
        if self._spans is None:
            self._spans = [match.span() for match in self._pattern.finditer(self._scanned)]
        start, end = self._spans[first][0], self._spans[stop - 1][0] + len(self.tokens[stop - 1])
        if self._starts is None or self._ends is None:
            return start, end
        return self._starts[start], self._ends[end - 1]


def tokens(text: str) -> tuple[str, ...]:
    """The folded tokens of a text.

    >>> tokens("The child’s Geo-Board")
    ('the', 'child', 'geo', 'board')
    """
    return tuple(Folded(text).tokens)


def is_latin_word(token: str) -> bool:
    """Whether English spelling rules can be applied to a folded token."""
    return token.isalpha() and (token.isascii() or all(_is_latin(c) for c in token))


@lru_cache(maxsize=4096)
def _is_latin(character: str) -> bool:
    return "LATIN" in unicodedata.name(character, "")


@lru_cache(maxsize=65536)
def _category(character: str) -> str:
    """ "M" combining mark, "-" character that is left out, "" anything else."""
    category = unicodedata.category(character)
    if category == "Cf" or "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef":
        return "-"
    return "M" if category[0] == "M" else ""


def _fold(text: str) -> tuple[str, str, list[int] | None, list[int] | None]:
    """Folded text, what the token pattern scans (marks look like letters in it), and where each character came from.

    The two lists are None when every character stayed in its place.
    """
    if text.isascii():
        folded = text.lower()
        return folded, folded, None, None
    plain = text.translate(_PLAIN)
    if plain.isascii():
        folded = plain.lower()
        return folded, folded, None, None
    folded = plain.casefold()
    if (
        len(folded) == len(plain)
        and not any(_category(c) for c in set(plain) | set(folded) if c > "\x7f")
        and unicodedata.is_normalized("NFKC", plain)
        and unicodedata.is_normalized("NFKC", folded)
    ):
        return folded, folded, None, None
    return _fold_slowly(plain)


def _fold_slowly(plain: str) -> tuple[str, str, list[int], list[int]]:
    visible = [(index, c) for index, c in enumerate(plain) if _category(c) != "-"]
    folded: list[str] = []
    scanned: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    first = 0
    while first < len(visible):
        stop = first + 1
        cluster = visible[first][1]
        while stop < len(visible) and _joins(cluster, visible[stop][1]):
            cluster += visible[stop][1]
            stop += 1
        piece = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", cluster).casefold()).translate(_PLAIN)
        for c in piece:
            if _category(c) == "-":
                continue
            if _category(c) == "M":
                scanned.append("x" if scanned and _IS_WORD.match(scanned[-1]) else " ")
            else:
                scanned.append(c)
            folded.append(c)
            starts.append(visible[first][0])
            ends.append(visible[stop - 1][0] + 1)
        first = stop
    return "".join(folded), "".join(scanned), starts, ends


def _joins(cluster: str, character: str) -> bool:
    """Whether NFKC may compose a character with what is before it: marks, Korean letters, half-width voicing."""
    if character.isascii():
        return False
    fold = unicodedata.normalize
    return _category(character) == "M" or fold("NFKC", cluster + character) != fold("NFKC", cluster) + fold(
        "NFKC", character
    )
