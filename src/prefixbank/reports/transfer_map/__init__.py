"""The report on a transfer map."""
