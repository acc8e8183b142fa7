"""Scores from questions about the image that are answered from the caption alone."""
