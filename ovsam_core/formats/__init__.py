"""Annotation files as pure functions between dictionaries and records."""
