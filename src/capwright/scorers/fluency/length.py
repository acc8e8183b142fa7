"""How long captions are. No judgement: a length is neither good nor bad, but a score is hard to read without it."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from capwright.scorers.base import (
    SCORED,
    Context,
    Item,
    Scorer,
    ScorerSpec,
    Stats,
    item_status,
)
from capwright.text.normalize import Folded

_SENTENCE_END = re.compile(r"[.!?…]+(?=[\s\"'”’)\]]|$)|[。！？]+|\n\s*\n")


class Length(Scorer[Context]):
    """The scorer `length`: mean words, characters and sentences a caption, and the share that was cut off.

    A word is a run of letters and digits ("geo-board" is two); every Chinese, Japanese or Korean character is one. A
    sentence ends at . ! ? … or their full-width forms; text without an end mark is one sentence. Characters are
    counted after white space at both ends is removed. `truncated` is a share in [0, 1] of captions whose `finish` is
    "length". Empty captions count, with zeros.
    """

    def __init__(self) -> None:
        unbounded = (0.0, float("inf"))
        self.spec = ScorerSpec(
            name="length",
            version="1",
            outputs=("words", "characters", "sentences", "truncated"),
            ranges={"words": unbounded, "characters": unbounded, "sentences": unbounded, "truncated": (0.0, 1.0)},
            higher_is_better=None,
        )

    def stats(self, items: Sequence[Item], context: Context) -> Stats:
        """Rows (words, characters, sentences, truncated, 1)."""
        rows = np.zeros((len(items), 5))
        status = tuple(item_status(item) for item in items)
        for row, item, state in zip(rows, items, status):
            if state in SCORED:
                text = item.caption.strip()
                row[:] = (count_words(text), len(text), count_sentences(text), item.finish == "length", 1)
        return Stats(rows, np.arange(len(items)), status, (None,) * len(items))


def count_words(text: str) -> int:
    """Words in a text; see `Length` for what a word is."""
    return sum(token[0].isalnum() for token in Folded(text).tokens)


def count_sentences(text: str) -> int:
    """Sentences in a text; 0 for a blank one."""
    return len(split_sentences(text))


def split_sentences(text: str) -> list[str]:
    """The sentences of a text without the marks at their ends; see `Length` for where they end."""
    return [part for part in _SENTENCE_END.split(text) if any(c.isalnum() for c in part)]
