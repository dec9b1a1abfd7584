"""Training and evaluation: the stages of the paper, one script each."""
