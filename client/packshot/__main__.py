"""``python -m packshot``."""

from packshot.cli import main

main()
