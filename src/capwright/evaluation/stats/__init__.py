"""Intervals, paired tests and correlations; numpy only."""
