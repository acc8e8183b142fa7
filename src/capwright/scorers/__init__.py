"""What measures captions. One scorer is both the evaluation metric and the reward; numpy only."""

from __future__ import annotations

from capwright.scorers.base import SCORED, Context, Corpus, Item, ItemStats, Scorer, ScorerSpec, Stats, explain
from capwright.scorers.fluency.length import Length
from capwright.scorers.function_scorer import as_scorer
from capwright.scorers.objects.tts import TTS, Span, TTSContext
from capwright.scorers.registry import get_scorer, list_scorers, register_scorer
from capwright.scorers.reward import Reward, RewardView
from capwright.text.term_matching import Match, TermEntry, TermMatcher
from capwright.types import NotInstalledError, ScorerError

__all__ = [
    "SCORED",
    "TTS",
    "Context",
    "Corpus",
    "TermEntry",
    "Item",
    "ItemStats",
    "Length",
    "Match",
    "NotInstalledError",
    "Reward",
    "RewardView",
    "Scorer",
    "ScorerError",
    "ScorerSpec",
    "Span",
    "Stats",
    "TTSContext",
    "TermMatcher",
    "as_scorer",
    "explain",
    "get_scorer",
    "list_scorers",
    "register_scorer",
]
