"""The commands: their settings, what each does, and how workers repeat them."""
