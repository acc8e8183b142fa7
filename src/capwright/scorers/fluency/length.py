"""How long captions are. No judgement: a length is neither good nor bad, but a score is hard to read without it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from capwright.scorers.base import Context, Item, ItemStats, Scorer, ScorerSpec
from capwright.text.normalize import Folded

_SENTENCE_END = re.compile(r"[.!?…]+(?=[\s\"'”’)\]]|$)|[。！？]+|\n\s*\n")


class Length(Scorer[Context]):
    """The scorer `length`: mean words, characters and sentences a caption, and the share that was cut off.

    A word is a run of letters and digits ("geo-board" is two); every Chinese, Japanese or Korean character is one. A
    sentence ends at . ! ? … or their full-width forms; text without an end mark is one sentence. Characters are
    counted after white space at both ends is removed. `truncated` is a share in [0, 1] of captions whose `finish` is
    "length". Empty captions count, with zeros.
    """

    spec = ScorerSpec(
        name="length",
        outputs=("words", "characters", "sentences", "truncated"),
        ranges=dict.fromkeys(("words", "characters", "sentences"), (0.0, math.inf)) | {"truncated": (0.0, 1.0)},
        higher_is_better=None,
        about="how long captions are, and how many were cut off",
        titles={"length.words": "Words"},
    )

    def measure(self, items: Sequence[Item], context: Context) -> Iterator[ItemStats]:
        """Rows (words, characters, sentences, truncated, 1)."""
        for item in items:
            text = item.caption.strip()
            yield ItemStats((count_words(text), len(text), count_sentences(text), item.finish == "length", 1))


def count_words(text: str) -> int:
    """Words in a text; see `Length` for what a word is."""
    return sum(token[0].isalnum() for token in Folded(text).tokens)


def count_sentences(text: str) -> int:
    """Sentences in a text; 0 for a blank one."""
    return len(split_sentences(text))


def split_sentences(text: str) -> list[str]:
    """The sentences of a text without the marks at their ends; see `Length` for where they end."""
    return [part for part in _SENTENCE_END.split(text) if any(c.isalnum() for c in part)]
