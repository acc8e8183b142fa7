"""Scores from the vectors of a text encoder."""
