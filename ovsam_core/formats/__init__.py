"""Annotation formats as pure functions between files and records, with a report of everything that does not fit."""
