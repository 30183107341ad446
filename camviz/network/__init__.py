"""Inside a network: captures of its layers, hooks, and batches that fit in memory."""
