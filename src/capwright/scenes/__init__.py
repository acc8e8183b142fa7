"""The built-in kindergarten: a small drawn world whose truth is known, with the words for it."""

from capwright.scenes.building import build, scene_id, split_of, to_sample
from capwright.scenes.drawing import draw, svg
from capwright.scenes.language import (
    TIER_PROBABILITY,
    Fact,
    casual_captions,
    expert_captions,
    facts,
    paraphrases,
    questions,
)
from capwright.scenes.lexicon import categories, professional_names, vocabulary
from capwright.scenes.reading import Claim, LexicalReader
from capwright.scenes.sampling import look_alikes, ranked_names, sample_scene
from capwright.scenes.sheet import contact_sheet, toy_sheet
from capwright.scenes.toybox import LOOK_ALIKES
from capwright.scenes.world import ACTIVITIES, AREAS, COLORS, PLACES, PLAIN, Child, PlacedToy, Scene, WorldOptions

__all__ = [
    "ACTIVITIES",
    "AREAS",
    "COLORS",
    "LOOK_ALIKES",
    "PLACES",
    "PLAIN",
    "TIER_PROBABILITY",
    "Child",
    "Claim",
    "Fact",
    "LexicalReader",
    "PlacedToy",
    "Scene",
    "WorldOptions",
    "build",
    "casual_captions",
    "categories",
    "contact_sheet",
    "draw",
    "expert_captions",
    "facts",
    "look_alikes",
    "paraphrases",
    "professional_names",
    "questions",
    "ranked_names",
    "sample_scene",
    "scene_id",
    "split_of",
    "svg",
    "to_sample",
    "toy_sheet",
    "vocabulary",
]
