"""What runs inside and around the server: the denoising engine, configs, adapters, launcher."""
