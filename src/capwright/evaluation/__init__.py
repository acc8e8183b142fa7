"""Measure the captions of whole systems: scores with intervals, paired tests, evidence for each image."""

from __future__ import annotations

from capwright.evaluation.results import MISSING, Comparison, Estimate, Evaluation, ImageResult, Measured, compare
from capwright.evaluation.running import evaluate, prepare_scorers
from capwright.evaluation.statistics import Difference, bootstrap_sums, intervals, paired_differences

__all__ = [
    "MISSING",
    "Comparison",
    "Difference",
    "Estimate",
    "Evaluation",
    "ImageResult",
    "Measured",
    "bootstrap_sums",
    "compare",
    "evaluate",
    "intervals",
    "paired_differences",
    "prepare_scorers",
]
