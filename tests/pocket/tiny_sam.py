"""Sizes of a SAM that tests can train."""

from packshot_pocket.sam.model import SamSpec

TINY = SamSpec(
    image_size=64, patch_size=8, hidden_size=32, num_layers=2, num_heads=2, window_size=4, global_layers=(1,),
    channels=32,
)  # fmt: skip
