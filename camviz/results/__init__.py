"""Results: what is kept of an explanation, and how it is written."""
