"""What is printed of a study: tables, text, charts."""
