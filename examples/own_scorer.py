"""A scorer of your own: the share of a caption's words that some reference has. It measures, and it can be a reward.

capwright score said.jsonl references.json --plugin examples/own_scorer.py --scorers shared-words,length
"""

from capwright.plugins import register


@register("scorer", "shared-words")
def shared_words(caption, sample):
    """Between 0 and 1; unknown where there are no references."""
    known = set(" ".join(sample.references).lower().split())
    words = set(caption.lower().split())
    return len(words & known) / max(1, len(words)) if known else None
