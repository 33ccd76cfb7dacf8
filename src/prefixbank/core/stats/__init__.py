"""Scores, intervals, tests and correlations."""
