"""Prompt transfer: find source prefixes that are similar to a task, and train from them."""
