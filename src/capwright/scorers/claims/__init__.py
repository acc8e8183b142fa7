"""Scores from the single claims that a caption makes: is each true, and what is missing?"""
