"""The text encoder of the pocket family, and CLIP's tokenizer."""
