"""Checkpoints → a complete model repository, with proof that it computes what the originals compute."""
