"""The Play page: a map changed by hand, and what each score makes of it."""
