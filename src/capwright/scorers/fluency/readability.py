"""How hard English captions are to read: four formulas from counts of letters, syllables, words and sentences."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from capwright.scorers.base import Context, Item, ItemStats, Scorer, ScorerSpec, ratio
from capwright.scorers.fluency.length import count_sentences
from capwright.text.normalize import is_latin_word, tokens

_VOWELS = re.compile(r"[aeiouy]+")
#: Vowels that are not spoken: a last e ("plate", "waves", "striped", but "table", "benches", "painted"), that e inside
#: a longer word ("skateboard", "closely"), and the a of "-ically".
_SILENT = re.compile(
    r"(?<=[^aeiouy])(?<![^aeiouylr]l)(?<![ct]r)e$"
    r"|(?<=[^aeiouyscgxz])(?<![cs]h)(?<![^aeiouylr]l)es$"
    r"|(?<=[^aeiouytd])(?<![^aeiouylr]l)ed$"
    r"|(?<=[aeiouy][^aeiouy])e(?=ball|board|bush|cake|ful|guard|house|less|light|like|line|ly$|made|man|mate|men|ment|ness"
    r"|paper|place|side|stone|style|walk|way|work)"
    r"|(?<=ic)a(?=lly$)"
)
#: Vowels side by side that are two: "video", "area", "giant", "various", "player", "being", "happier", "visual" ...
_APART = re.compile(
    r"(?<=[^aeiouyctsgxl])i(?=a(?!ge)|en[ct]|o(?!n)|um|us)|i(?=et)|(?<=[^aeiouyl]{2})(?<!ld)i(?=er)"
    r"|[aou]y(?=[aeiou])|ey(?=[io])|(?<=[^aeiou])y(?=i)|[aeiou](?=ing)"
    r"|(?<=[^q])u(?=al|at(?:e|i)|ous)|e(?=um|o(?:s?$|m))|(?<=[rd])e(?=as?$)|(?<=cr)e(?=at)|o(?=e[mt])"
)
#: Common words that the rule gets wrong.
_EXCEPTIONS = {"business": 2, "cafe": 2, "every": 2, "evening": 2, "jagged": 2, "karate": 3, "lion": 2, "lions": 2}
_EXCEPTIONS |= {"giant": 2, "giants": 2, "naked": 2, "recipe": 3, "rugged": 2, "crooked": 2, "science": 2, "theater": 3}


class Readability(Scorer[Context]):
    """The scorer `readability`, of text in English. Neither direction is better.

        ari (headline): Automated Readability Index (Smith and Senter, 1967), a school grade.
        coleman_liau: index of Coleman and Liau (1975), a school grade.
        flesch: reading ease of Flesch (1948); 100 is easy, 0 is hard, and neither is a limit.
        kincaid: grade level of Flesch and Kincaid (1975), a school grade.

    Rows hold (letters, words, sentences, syllables), so the number of a corpus is that of all its text together. A word
    is what `length` calls one, if it is in Latin letters or digits; letters include digits. A caption without such a
    word is unknown. Formulas meant for pages of prose say little about one short caption.
    """

    spec = ScorerSpec(
        name="readability",
        outputs=("ari", "coleman_liau", "flesch", "kincaid"),
        ranges={},
        higher_is_better=None,
        about="how hard captions in English are to read, by four formulas",
    )
    columns = ("letters", "words", "sentences", "syllables")

    def measure(self, items: Sequence[Item], context: Context) -> Iterator[ItemStats]:
        """Rows of `columns`; unknown without a word."""
        for item in items:
            words = [word for word in tokens(item.caption) if _is_read(word)]
            counts = (len(words), count_sentences(item.caption), sum(map(count_syllables, words)))
            yield ItemStats((sum(map(str.isalnum, "".join(words))), *counts) if words else None)

    def finalize(self, summed: NDArray[np.float64]) -> NDArray[np.float64]:
        """[..., 4] -> [..., 4] in the order of the outputs; NaN without words."""
        letters, words, sentences, syllables = np.moveaxis(np.asarray(summed, dtype=np.float64), -1, 0)
        letters_each, syllables_each = ratio(letters, words), ratio(syllables, words)
        words_each = ratio(words, sentences)
        columns = (
            4.71 * letters_each + 0.5 * words_each - 21.43,
            5.88 * letters_each - 29.6 * ratio(sentences, words) - 15.8,
            206.835 - 1.015 * words_each - 84.6 * syllables_each,
            0.39 * words_each + 11.8 * syllables_each - 15.59,
        )
        return np.stack(columns, axis=-1)

    def fields(self, context: Context) -> dict[str, object]:
        """`readability|syllables:rule.1|v:1`."""
        return dict(syllables="rule.1")


@lru_cache(maxsize=65536)
def count_syllables(word: str) -> int:
    """Syllables of one lower-case English word, by rule; at least 1. A digit counts as one.

    Groups of vowels are counted, but for a silent e (at the end, in "-es", in "-ed"); vowels that are spoken apart
    count on their own. docs/methods/readability.md says how often that is right.

    >>> [count_syllables(word) for word in ("table", "skateboard", "giraffes", "painted", "video")]
    [2, 2, 2, 2, 3]
    """
    digits = sum(map(str.isdigit, word))
    if word in _EXCEPTIONS:
        return _EXCEPTIONS[word]
    word = unicodedata.normalize("NFKD", word)  # an accent is no part of its vowel: the e of "café" is not silent
    spoken = len(_VOWELS.findall(word)) - len(_SILENT.findall(word)) + len(_APART.findall(word))
    return max(1, spoken + digits)


def _is_read(token: str) -> bool:
    """Whether a folded token is a word in Latin letters, or a number."""
    return token[0].isalnum() and (token.isdigit() or is_latin_word("".join(filter(str.isalpha, token))))
