"""The panels of the pages: viewer, layer strip, score chart and downloads."""
