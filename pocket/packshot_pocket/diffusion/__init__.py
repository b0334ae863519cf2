"""The text encoder and the inpainting UNet of the pocket family."""
