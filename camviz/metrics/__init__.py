"""Scores of maps."""
