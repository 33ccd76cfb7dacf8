"""Train a prefix."""
