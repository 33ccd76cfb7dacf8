"""Score a prefix with its own head on test rows."""
