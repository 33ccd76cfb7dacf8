"""Count the operations by which one text becomes a vector."""
