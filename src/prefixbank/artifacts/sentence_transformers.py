"""Files that make a bundle a model of sentence-transformers."""

MODULES, SETTINGS, ENCODER = "modules.json", "prefixbank.json", "encoder"
MODULE = "prefixbank.sentence_transformers.BankModule"
"""The class in `modules.json`."""
