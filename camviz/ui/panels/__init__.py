"""What the pages show: the viewer, the layer strip, the score chart, downloads."""
