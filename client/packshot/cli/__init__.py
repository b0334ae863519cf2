"""The command line of packshot."""

from packshot.cli.app import main

__all__ = ["main"]
