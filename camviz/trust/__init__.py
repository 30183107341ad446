"""Which metric can be trusted: metrics held against what is known to be true, within each picture."""
