"""Scores from n-grams: what a caption shares with its references, or with other captions."""
