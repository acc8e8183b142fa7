"""Measure the captions of whole systems: scores with intervals, paired tests, evidence for each image."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from capwright.evaluation.comparing import Comparison, adjust, compare
from capwright.evaluation.estimating import How, estimate
from capwright.evaluation.results import MISSING, Estimate, Evaluation, ImageResult, Measured, score_key
from capwright.evaluation.running import evaluate, prepare_scorers
from capwright.evaluation.significance import Difference, holm, paired_differences
from capwright.evaluation.statistics import bootstrap_sums, intervals

if TYPE_CHECKING:
    from capwright.evaluation.arena import hold_arena
    from capwright.evaluation.battles import Judgement, read_battles
    from capwright.evaluation.injection import injection_report
    from capwright.evaluation.leaderboard import Leaderboard, make_leaderboard
    from capwright.evaluation.report import write_report, write_score_report
    from capwright.evaluation.scoring import DEFAULT_SCORERS, Scoring, score, score_systems

#: Loaded when asked for: training runs measure without readers of other people's files, templates and pictures.
_HOME = {
    "DEFAULT_SCORERS": "scoring",
    "Judgement": "battles",
    "Leaderboard": "leaderboard",
    "Scoring": "scoring",
    "hold_arena": "arena",
    "injection_report": "injection",
    "make_leaderboard": "leaderboard",
    "read_battles": "battles",
    "score": "scoring",
    "score_systems": "scoring",
    "write_report": "report",
    "write_score_report": "report",
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
    "hold_arena",
    "holm",
    "injection_report",
    "intervals",
    "make_leaderboard",
    "paired_differences",
    "prepare_scorers",
    "read_battles",
    "score",
    "score_key",
    "score_systems",
    "write_report",
    "write_score_report",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"capwright.evaluation.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
