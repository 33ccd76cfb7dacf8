"""Whole experiments: the graph of their units."""
