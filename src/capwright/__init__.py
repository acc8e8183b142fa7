"""capwright: train, run and measure image captioners that must name things right.

    import capwright

    dataset = capwright.open_dataset("kindergarten", split="test")
    policy = capwright.load_policy("embedded")

Names are loaded on first use: importing the package imports neither torch nor numpy.
"""

from __future__ import annotations

import warnings
from typing import Any

from capwright.lazy import attach

__version__ = "0.1.0"
_load, __dir__, __all__ = attach(__name__, __file__)

#: Names that others took the place of.
_RENAMED = {"Sampling": "SamplingParams"}


def __getattr__(name: str) -> Any:
    if name in _RENAMED:
        warnings.warn(f"capwright.{name} is called {_RENAMED[name]} now", FutureWarning, stacklevel=2)
    return _load(_RENAMED.get(name, name))
