"""The Compare page: a grid of maps of one picture, and those that are pinned."""
