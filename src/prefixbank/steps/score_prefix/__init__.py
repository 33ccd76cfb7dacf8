"""Score a prefix and its head on test rows."""
