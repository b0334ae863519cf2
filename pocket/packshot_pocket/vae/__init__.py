"""The VAE of the pocket family: a small AutoencoderKL."""
