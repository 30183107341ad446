"""The Reproduce page: a bundle's result, as stored and as computed again."""
