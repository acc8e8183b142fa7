"""What measures captions. One scorer is both the evaluation metric and the reward; numpy only."""

from capwright.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
