"""The Evaluate page: which metric finds the better of two maps, from the sealed study."""
