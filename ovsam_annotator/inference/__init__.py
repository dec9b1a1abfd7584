"""From prompts to predictions, off the GUI thread."""
