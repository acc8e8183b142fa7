"""Pages for people: one HTML file of a training run, or of scored captions.

A page holds its images, charts and style; it needs no script and no network, follows the reader's light or dark
setting, and the same inputs give the same bytes.
"""

from capwright.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
