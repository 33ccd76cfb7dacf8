"""Encoders, their files and their tokenizers."""
