"""Rendered pictures on disk, drawn once and trained on many times."""
