"""What each artifact holds: written and read."""
