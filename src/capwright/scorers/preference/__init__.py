"""Scores from which of two captions a judge prefers."""
