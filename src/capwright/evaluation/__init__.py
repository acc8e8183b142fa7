"""Measure the captions of whole systems: scores with intervals, paired tests, evidence for each image."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from capwright.evaluation.compare import Comparison, adjust, compare
from capwright.evaluation.evaluate import evaluate, prepare_scorers
from capwright.evaluation.results import MISSING, Estimate, Evaluation, ImageResult, Measured, score_key
from capwright.evaluation.stats.bootstrap import bootstrap_sums, intervals
from capwright.evaluation.stats.intervals import How, estimate
from capwright.evaluation.stats.significance import Difference, holm, paired_differences

if TYPE_CHECKING:
    from capwright.evaluation.arena.judgements import Judgement, read_battles
    from capwright.evaluation.arena.leaderboard import Leaderboard, make_leaderboard
    from capwright.evaluation.arena.play import run_arena
    from capwright.evaluation.score_files import DEFAULT_SCORERS, Scoring, score, score_systems

#: Loaded when asked for: training runs measure without readers of other people's files, templates and images.
_HOME = {
    "DEFAULT_SCORERS": "score_files",
    "Judgement": "arena.judgements",
    "Leaderboard": "arena.leaderboard",
    "Scoring": "score_files",
    "run_arena": "arena.play",
    "make_leaderboard": "arena.leaderboard",
    "read_battles": "arena.judgements",
    "score": "score_files",
    "score_systems": "score_files",
}

__all__ = [
    "DEFAULT_SCORERS",
    "MISSING",
    "Comparison",
    "Difference",
    "Estimate",
    "Evaluation",
    "How",
    "ImageResult",
    "Judgement",
    "Leaderboard",
    "Measured",
    "Scoring",
    "adjust",
    "bootstrap_sums",
    "compare",
    "estimate",
    "evaluate",
    "run_arena",
    "holm",
    "intervals",
    "make_leaderboard",
    "paired_differences",
    "prepare_scorers",
    "read_battles",
    "score",
    "score_key",
    "score_systems",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"capwright.evaluation.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
