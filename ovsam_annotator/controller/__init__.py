"""The only place that sees both the model and the views."""
