"""The words of the starter suite: one module for each task."""
