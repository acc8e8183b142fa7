"""Questions of one image that ask the same thing twice."""

from __future__ import annotations

from collections.abc import Sequence

from capwright.curation.questions.extraction import fold
from capwright.text.normalize import tokens
from capwright.types import Question

#: Two questions with the same answer whose words overlap this much ask the same.
SAME = 0.8


def repeats(questions: Sequence[Question], same: float = SAME) -> list[int | None]:
    """For each question the place of the earlier one that it repeats, or None.

    A question repeats an earlier one, which is no repeat itself, when both have the same answer and the sets of their
    words have a Jaccard index (shared words / all words) of at least `same`. Questions with equal words and different
    answers are no repeats: at most one of them is right, and answering them shows which.

    Args:
        same: 0 to 1; at 1 only equal sets of words count, and above 1 nothing does.
    """
    found: list[int | None] = []
    bags = [words(question.text) for question in questions]
    answers = [fold(question.answer) for question in questions]
    for i, bag in enumerate(bags):
        earlier = (j for j in range(i) if found[j] is None and answers[j] == answers[i])
        found.append(next((j for j in earlier if jaccard(bags[j], bag) >= same), None))
    return found


def words(text: str) -> frozenset[str]:
    """The different words of a text."""
    return frozenset(token for token in tokens(text) if any(map(str.isalnum, token)))


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """Shared words / all words; of two texts without words 1."""
    together = len(one | other)
    return len(one & other) / together if together else 1.0
