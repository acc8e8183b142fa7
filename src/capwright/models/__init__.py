"""What writes captions: policies over Hugging Face models. Importing this room imports torch."""

from capwright.models.features import FeatureCache
from capwright.models.groups import Groups, Prefixes
from capwright.models.loading import load_policy
from capwright.models.policy import HFPolicy
from capwright.models.selfcheck import packing_error

__all__ = ["FeatureCache", "Groups", "HFPolicy", "Prefixes", "load_policy", "packing_error"]
