"""Embed texts with a bank."""
