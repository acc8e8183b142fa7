"""What measures captions. One scorer is both the evaluation metric and the reward; numpy only."""

from __future__ import annotations

from capwright.scorers.base import (
    SCORED,
    Context,
    Corpus,
    Item,
    NotInstalledError,
    Scorer,
    ScorerError,
    ScorerSpec,
    Stats,
    explain,
)
from capwright.scorers.length import Length
from capwright.scorers.matching import Entry, Match, TermMatcher
from capwright.scorers.registry import get_scorer, list_scorers, register_scorer
from capwright.scorers.reward import Reward, RewardView
from capwright.scorers.tts import TTS, Span, TTSContext

__all__ = [
    "SCORED",
    "TTS",
    "Context",
    "Corpus",
    "Entry",
    "Item",
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
    "explain",
    "get_scorer",
    "list_scorers",
    "register_scorer",
]
