"""Loading tasks, texts and encoders from files."""
