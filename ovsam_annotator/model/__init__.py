"""Documents, history, tools and geometry; neither Qt nor torch."""
