"""Training prefixes and encoders."""
