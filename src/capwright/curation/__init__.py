"""Making data better before anything is trained on it: steps that take samples and give samples.

    maker = QuestionMaker(reader, writer, journal="toys.questions.jsonl")
    write_new(maker(open_dataset("toys")), "toys-with-questions")
    print(maker.tally.lines())

A step is any `Callable[[Iterable[Sample]], Iterable[Sample]]`. Steps hold a few samples at a time, never change the one
they were given, and count what they leave out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from capwright.curation.output import write_new
from capwright.curation.questions.duplicates import repeats
from capwright.curation.questions.extraction import Candidate, extract
from capwright.curation.questions.filtering import Filter, judge
from capwright.curation.questions.pipeline import QuestionMaker, QuestionTally
from capwright.types import Sample

Step = Callable[[Iterable[Sample]], Iterable[Sample]]

__all__ = [
    "Candidate",
    "Filter",
    "QuestionMaker",
    "Step",
    "QuestionTally",
    "extract",
    "judge",
    "repeats",
    "write_new",
]
