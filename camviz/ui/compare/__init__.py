"""The Compare page: a grid of maps of one picture, and the pinned maps."""
