"""pocket: packshot's own small models, trained from scratch on pictures that a renderer of ours draws."""
