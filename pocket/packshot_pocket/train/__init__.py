"""Training of the VAE, of the text encoder with the UNet, and of the ControlNet."""
