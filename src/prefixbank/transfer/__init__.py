"""Which sources are near a task, and what to start from."""
