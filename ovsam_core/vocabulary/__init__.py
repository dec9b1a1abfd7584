"""Names: what a mask can be called."""
