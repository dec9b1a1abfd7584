"""Widgets: verbs in, signals out."""
