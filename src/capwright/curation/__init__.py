"""Making data better before anything is trained on it: steps that take samples and give samples.

    steps = [Deduplicate(), MakeQuestions(judge=judge)]
    run_steps(steps, open_dataset("toys"), "toys-curated", journal="toys.journal.jsonl")

`base.Step` is what a step is, `registry` finds steps by name, `recipe` reads what `capwright curate` is given, and
`runner` does all of it, so that it can be killed at any moment.
"""

from __future__ import annotations

from capwright.curation.base import Step, StepDecision, StepRun
from capwright.curation.caption_filter import CaptionFilter
from capwright.curation.deduplicate import Deduplicate
from capwright.curation.output import write_new
from capwright.curation.questions.duplicates import repeats
from capwright.curation.questions.extraction import Candidate, extract
from capwright.curation.questions.filtering import Filter, judge
from capwright.curation.questions.pipeline import FilterQuestions, MakeQuestions, QuestionMaker, QuestionTally
from capwright.curation.recipe import load_curation
from capwright.curation.registry import make_step
from capwright.curation.runner import run_steps
from capwright.curation.subset import Subset

__all__ = [
    "Candidate",
    "CaptionFilter",
    "Deduplicate",
    "Filter",
    "FilterQuestions",
    "MakeQuestions",
    "QuestionMaker",
    "QuestionTally",
    "Step",
    "StepDecision",
    "StepRun",
    "Subset",
    "extract",
    "judge",
    "load_curation",
    "make_step",
    "repeats",
    "run_steps",
    "write_new",
]
