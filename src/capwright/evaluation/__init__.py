"""Measure the captions of whole systems: scores with intervals, paired tests, evidence for each image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from capwright.evaluation.comparing import Comparison, adjust, compare
from capwright.evaluation.results import MISSING, Estimate, Evaluation, ImageResult, Measured
from capwright.evaluation.running import evaluate, prepare_scorers
from capwright.evaluation.significance import Difference, holm, paired_differences
from capwright.evaluation.statistics import bootstrap_sums, intervals

if TYPE_CHECKING:
    from capwright.evaluation.report import write_report

__all__ = [
    "MISSING",
    "Comparison",
    "Difference",
    "Estimate",
    "Evaluation",
    "ImageResult",
    "Measured",
    "adjust",
    "bootstrap_sums",
    "compare",
    "evaluate",
    "holm",
    "intervals",
    "paired_differences",
    "prepare_scorers",
    "write_report",
]


def __getattr__(name: str) -> Any:
    """The report is loaded when it is asked for: measuring needs neither templates nor pictures."""
    if name == "write_report":
        from capwright.evaluation.report import write_report

        return write_report
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
