"""What writes captions, policies over Hugging Face models; and what reads text, chat servers and readers.

Names are loaded on first use: asking a server needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from capwright.models.batch import CaptionBatch, EncodedPrompts
    from capwright.models.features import FeatureCache
    from capwright.models.loading import LoadOptions, load_policy
    from capwright.models.policy import HFPolicy
    from capwright.models.selfcheck import packing_error

_HOME = {
    "FeatureCache": "features",
    "CaptionBatch": "batch",
    "HFPolicy": "policy",
    "EncodedPrompts": "batch",
    "LoadOptions": "loading",
    "load_policy": "loading",
    "packing_error": "selfcheck",
}

__all__ = ["FeatureCache", "CaptionBatch", "HFPolicy", "EncodedPrompts", "LoadOptions", "load_policy", "packing_error"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"capwright.models.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
