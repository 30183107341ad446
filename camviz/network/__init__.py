"""A network seen from inside: captures of its layers, hooks, and batches that fit its memory."""
