from capwright.models.batch import CaptionBatch as CaptionBatch
from capwright.models.batch import EncodedPrompts as EncodedPrompts
from capwright.models.features import FeatureCache as FeatureCache
from capwright.models.loading import LoadOptions as LoadOptions
from capwright.models.loading import load_policy as load_policy
from capwright.models.policy import HFPolicy as HFPolicy
from capwright.models.selfcheck import packing_error as packing_error
