"""Light models on frozen vectors."""
