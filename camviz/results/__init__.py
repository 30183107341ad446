"""Results: an explanation as a value, and its export to files."""
