"""Measure the captions of whole systems: scores with intervals, paired tests, evidence for each image."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from capwright.evaluation.compare import Comparison, adjust, compare
from capwright.evaluation.config import DEFAULT_SCORERS, MeasureConfig, prepare_scorers
from capwright.evaluation.evaluate import evaluate, measure_systems
from capwright.evaluation.results import MISSING, Estimate, Evaluation, ImageResult, Measured, score_key
from capwright.evaluation.scoring import Scoring, read_scoring
from capwright.evaluation.stats.bootstrap import bootstrap_sums, intervals
from capwright.evaluation.stats.intervals import How, estimate
from capwright.evaluation.stats.significance import Difference, holm, paired_differences

if TYPE_CHECKING:
    from capwright.evaluation.arena.judgements import Judgement, read_battles
    from capwright.evaluation.arena.leaderboard import Leaderboard, make_leaderboard
    from capwright.evaluation.arena.play import ArenaConfig, run_arena
    from capwright.evaluation.score_files import score, score_systems

#: Loaded when asked for: training runs measure without readers of other people's files, templates and images.
_HOMES = {
    "arena.judgements": ("Judgement", "read_battles"),
    "arena.leaderboard": ("Leaderboard", "make_leaderboard"),
    "arena.play": ("ArenaConfig", "run_arena"),
    "score_files": ("score", "score_systems"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "DEFAULT_SCORERS", "MISSING", "ArenaConfig", "Comparison", "Difference", "Estimate", "Evaluation", "How",
    "ImageResult", "Judgement", "Leaderboard", "MeasureConfig", "Measured", "Scoring", "adjust", "bootstrap_sums",
    "compare", "estimate", "evaluate", "run_arena", "holm", "intervals", "make_leaderboard", "measure_systems",
    "paired_differences", "prepare_scorers", "read_battles", "read_scoring", "score", "score_key", "score_systems",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"capwright.evaluation.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
