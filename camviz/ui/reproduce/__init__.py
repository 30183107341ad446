"""The Bundle page: a stranger's finding, as it is stored and computed again."""
