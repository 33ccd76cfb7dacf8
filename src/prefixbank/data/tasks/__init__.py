"""Tasks: from files and hub to checked examples."""
