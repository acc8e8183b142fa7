"""Scores of the writing itself: language, length, readability, repetition."""
