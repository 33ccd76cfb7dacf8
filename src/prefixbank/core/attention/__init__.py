"""Prefix attention."""
