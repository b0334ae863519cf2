"""The network: ``transformers.SamModel`` with a small ViT, and how its checkpoint is written."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from transformers import SamConfig, SamModel

from packshot_export.loading import quiet_libraries
from packshot_pocket.checkpoint import write_card

#: As in SAM's image processor, for pixels in [0, 1].
IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class SamSpec:
    """Sizes of the network.

    Attributes:
        image_size: side of the input in pixels.
        patch_size: pixels of a patch's side. 8 rather than SAM's 16, since masks are a quarter as large:
            at 384 pixels they have 192 and not 96.
        hidden_size: of the ViT.
        num_layers: of the ViT.
        num_heads: of the ViT.
        window_size: patches of an attention window's side; divides the number of patches.
        global_layers: those that attend to the whole photo.
        channels: of the image embedding and of the mask decoder.
    """

    image_size: int = 384
    patch_size: int = 8
    hidden_size: int = 160
    num_layers: int = 6
    num_heads: int = 4
    window_size: int = 8
    global_layers: tuple[int, ...] = (2, 5)
    channels: int = 128

    @property
    def embedding_size(self) -> int:
        """Side of the image embedding."""
        return self.image_size // self.patch_size

    @property
    def mask_size(self) -> int:
        """Side of the low-resolution masks."""
        return 4 * self.embedding_size


POCKET = SamSpec()
#: How sharply a fresh decoder looks. On discs, 120 steps: IoU with a box 0.57 at 1, 0.82 at 1.6, 0.90 at 2.5,
#: 0.70 at 4.
_LOOKING = 2.5
Attention = Literal["eager", "sdpa"]


def make_sam(spec: SamSpec = POCKET, attention: Attention = "eager") -> SamModel:
    """A fresh network, ready to be trained. Seed torch before the call.

    Args:
        attention: how it is computed. On a CPU torch's own kernels cannot train its position biases and
            fall back to something slower than ``eager``.
    """
    vision = {
        "hidden_size": spec.hidden_size,
        "output_channels": spec.channels,
        "num_hidden_layers": spec.num_layers,
        "num_attention_heads": spec.num_heads,
        "image_size": spec.image_size,
        "patch_size": spec.patch_size,
        "window_size": spec.window_size,
        "global_attn_indexes": list(spec.global_layers),
        "mlp_dim": 3 * spec.hidden_size,
        "num_pos_feats": spec.channels // 2,
        # Waves per half square. transformers' default, half the hidden size, is for published weights
        # that replace it: it would make neighbouring pixels' embeddings unrelated.
        "scale": 1.5,
    }
    prompt = {
        "hidden_size": spec.channels,
        "image_size": spec.image_size,
        "patch_size": spec.patch_size,
        "image_embedding_size": spec.embedding_size,
    }
    decoder = {
        "hidden_size": spec.channels,
        "mlp_dim": 2 * spec.channels,
        "num_attention_heads": 4,
        "iou_head_hidden_dim": spec.channels,
    }
    config = SamConfig(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder)
    config.vision_config._attn_implementation = attention
    sam = SamModel._from_config(config)
    _initialise(sam, spec)
    # SAM's positions are fixed: the encoder's grid and the prompts' coordinates share them.
    sam.prompt_encoder.shared_embedding.positional_embedding.requires_grad_(False)
    sam.shared_image_embedding.positional_embedding.requires_grad_(False)
    # Masks as prompts are not served.
    sam.prompt_encoder.mask_embed.requires_grad_(False)
    return sam


def grown_sam(checkpoints: Sequence[Path], spec: SamSpec, attention: Attention = "eager") -> SamModel:
    """Trained networks as one for photos of another size, to go on training with.

    A ninth of the pixels is learned from nine times as fast, and most of what is learned there holds
    for larger photos, too: only what knows positions is stretched over them.

    Weights that began alike can be averaged, and the mean may do better than any of them ("Model soups",
    Wortsman et al. 2022).

    Args:
        checkpoints: directories that :func:`save_sam` wrote; of several the mean is taken.
        spec: the same sizes but for ``image_size``.
    """
    sam = make_sam(spec, attention)
    states = [
        SamModel.from_pretrained(checkpoint, dtype=torch.float32).state_dict() for checkpoint in checkpoints
    ]
    mean = {}
    for name, wanted in sam.state_dict().items():
        same = [
            state[name] if state[name].shape == wanted.shape else _stretched(state[name], wanted.shape)
            for state in states
        ]
        mean[name] = torch.stack(same).mean(dim=0)
    sam.load_state_dict(mean)
    return sam


def _stretched(positions: Tensor, shape: torch.Size) -> Tensor:
    """Absolute positions [1, s, s, hidden], or relative ones [2s − 1, width], for another s."""
    if positions.ndim == 4:
        grid = positions.permute(0, 3, 1, 2)
        grown = nn.functional.interpolate(grid, shape[1:3], mode="bilinear")
        return grown.permute(0, 2, 3, 1)
    return nn.functional.interpolate(positions.T[None], shape[0], mode="linear")[0].T


@torch.no_grad()
def _initialise(sam: SamModel, spec: SamSpec) -> None:
    """Weights to learn from, as segment-anything's.

    transformers' own are for published weights to replace: 1e-10 all over the image encoder, through which
    nothing would come.
    """
    for module in sam.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            module.reset_parameters()
            if module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, nn.Embedding):
            module.reset_parameters()  # as strong as the sines that points are
    for layer in sam.vision_encoder.layers:
        for branch in (layer.attn.proj, layer.mlp.lin2):
            branch.weight.mul_(spec.num_layers**-0.5)
    sam.vision_encoder.pos_embed.copy_(_sinusoids(spec))
    # Queries and keys that begin alike meet where their positions are the same: a fresh network already
    # looks where somebody clicked, instead of finding out over thousands of steps.
    transformer = sam.mask_decoder.transformer
    crossings = [transformer.final_attn_token_to_image]
    for layer in transformer.layers:
        crossings += [layer.cross_attn_token_to_image, layer.cross_attn_image_to_token]
    for crossing in crossings:
        crossing.q_proj.weight.mul_(_LOOKING)
        crossing.k_proj.weight.copy_(crossing.q_proj.weight)


def _sinusoids(spec: SamSpec) -> Tensor:
    """Positions [1, s, s, hidden] to start from; zeros would have to learn first where a patch is."""
    quarter = spec.hidden_size // 4
    place = torch.arange(spec.embedding_size)[:, None]
    angles = place * torch.pi / 2 ** torch.linspace(0.0, 6.0, quarter)[None]
    waves = torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)
    rows = waves[:, None].expand(-1, spec.embedding_size, -1)
    columns = waves[None].expand(spec.embedding_size, -1, -1)
    return 0.1 * torch.cat([rows, columns], dim=2)[None]


def pixel_values(image: Tensor, reshaped_input_size: Tensor) -> Tensor:
    """What the network sees of a photo, as the served graph computes it.

    Args:
        image: uint8 [B, S, S, 3], letterboxed.
        reshaped_input_size: int64 [B, 2], height and width of the photo inside the square.

    Returns:
        float32 [B, 3, S, S], normalised; 0, the mean colour, outside the photo.
    """
    device = image.device
    mean = torch.tensor(IMAGE_MEAN, device=device).reshape(3, 1, 1)
    std = torch.tensor(IMAGE_STD, device=device).reshape(3, 1, 1)
    pixels = (image.permute(0, 3, 1, 2).float() / 255 - mean) / std
    side = torch.arange(image.shape[1], device=device)
    rows = side[None] < reshaped_input_size[:, :1]
    columns = side[None] < reshaped_input_size[:, 1:]
    return torch.where((rows[:, :, None] & columns[:, None])[:, None], pixels, 0.0)


def save_sam(sam: SamModel, directory: Path) -> None:
    """Write a checkpoint that ``packshot export --sam`` reads, in half precision."""
    with quiet_libraries():
        copy.deepcopy(sam).half().save_pretrained(directory)
    side = sam.config.vision_config.image_size
    processor = {
        "image_processor_type": "SamImageProcessor",
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_pad": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": list(IMAGE_MEAN),
        "image_std": list(IMAGE_STD),
        "pad_size": {"height": side, "width": side},
        "resample": 2,
        "rescale_factor": 1 / 255,
        "size": {"longest_edge": side},
    }
    (directory / "preprocessor_config.json").write_text(json.dumps(processor, indent=2) + "\n")
    write_card(directory, "packshot_pocket.sam.train")
