"""The Canny ControlNet of the pocket family."""
