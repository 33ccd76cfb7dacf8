"""Distil a fine-tuned encoder into one with fewer layers."""
