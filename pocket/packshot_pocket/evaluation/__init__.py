"""What the pocket family can do, measured: numbers next to their targets, and sheets to look at."""
