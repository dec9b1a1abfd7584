"""Open-Vocabulary SAM: one model that segments and names what a person points at."""
