"""How scores are written for people."""

from __future__ import annotations

#: How well-known scores are written for people; others go by their key.
NAMES = {
    "bertscore.f1": "BERTScore",
    "chairI": "CHAIR-i",
    "chairS": "CHAIR-s",
    "chrf": "chrF",
    "cider": "CIDEr",
    "ciderD": "CIDEr-D",
    "length.words": "Words",
    "meteor": "METEOR",
    "rougeL": "ROUGE-L",
    "spice": "SPICE",
    "tts": "TTS",
    "tts.micro": "TTS micro",
} | {f"bleu{n}": f"BLEU-{n}" for n in range(1, 5)}


def name_of(key: str) -> str:
    """A score or a scorer as people write it: "ciderD" is "CIDEr-D"."""
    return NAMES.get(key, key)
