"""Join the vectors of several embeddings."""
