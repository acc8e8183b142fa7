"""The built-in kindergarten: a small drawn world whose truth is known, with the words for it."""

from capwright.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
