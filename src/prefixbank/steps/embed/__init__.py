"""Embedding: texts and a bank to vectors."""
