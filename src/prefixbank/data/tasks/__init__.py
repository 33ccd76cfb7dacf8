"""Tasks: from files or the hub to checked examples."""
