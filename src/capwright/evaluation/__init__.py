"""Measure the captions of whole systems: scores with intervals, paired tests, evidence for each image."""

from capwright.evaluation.compare import compare as compare  # a file of that name would hide it
from capwright.evaluation.evaluate import evaluate as evaluate  # the same
from capwright.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
