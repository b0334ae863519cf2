"""Scenes as the UNet sees them: latents, masks, captions and edges, ready on the device."""

from __future__ import annotations

import hashlib
import re
import sys
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from transformers import CLIPTokenizer

from packshot.contract import MASK_THRESHOLD
from packshot_pocket.renderer import renderer_version
from packshot_pocket.scenes.pool import SHARD, Pool
from packshot_pocket.text.tokenizer import token_ids
from packshot_pocket.training import autocast, load_state, save_state
from packshot_pocket.vae.model import FACTOR, to_pixels

_ARRAYS = ("images", "composites", "alphas", "product_edges", "scene_edges")


@dataclass(frozen=True, slots=True)
class LatentSet:
    """Training examples, on one device.

    Attributes:
        latents: float16 [N, 4, h, w], of the scenes.
        masked: float16 [N, 4, h, w], of the products on mid-grey.
        masks: float16 [N, 1, h, w], 1 where the scene is to be painted.
        ids: int64 [N, T], of the captions.
        product_edges: uint8 [N, H, W/8], eight pixels a byte: Canny of the product on the canvas.
        scene_edges: the same of the whole scene.
    """

    latents: Tensor
    masked: Tensor
    masks: Tensor
    ids: Tensor
    product_edges: Tensor
    scene_edges: Tensor

    def __len__(self) -> int:
        return len(self.latents)

    def to(self, device: torch.device) -> LatentSet:
        """On another device."""
        return LatentSet(*(getattr(self, field.name).to(device) for field in fields(self)))


def encode_pool(
    pool: Pool,
    vae: AutoencoderKL,
    tokenizer: CLIPTokenizer,
    device: torch.device,
    batch_size: int,
    mirrored: bool,
    shrink: int,
    cache: Path,
) -> LatentSet:
    """Encode scenes, or read them if this VAE's encoder has encoded them before.

    Args:
        vae: on the device.
        batch_size: pictures that are encoded at once.
        mirrored: add every scene's mirror image.
        shrink: how many times smaller than the pool's pictures; edges are left as they are.
        cache: file of the encoded scenes.
    """
    key = _key(vae, pool, mirrored, shrink)
    state = load_state(cache)
    if state is not None and state.pop("key") == key:
        return LatentSet(**state).to(device)
    parts: list[LatentSet] = []
    captions = pool.captions()
    shards = zip(*(pool.arrays(name) for name in _ARRAYS), strict=True)
    for number, arrays in enumerate(shards):
        tensors = tuple(torch.from_numpy(np.array(array)) for array in arrays)
        texts = captions[number * SHARD : (number + 1) * SHARD]
        for flip in (False, True) if mirrored else (False,):
            ids = torch.tensor(token_ids(tokenizer, [mirrored_caption(t) for t in texts] if flip else texts))
            parts.append(_encode_shard(tensors, ids, flip, shrink, vae, device, batch_size))
        if number % 8 == 7 or number == pool.shards - 1:
            sys.stderr.write(f"encode  {(number + 1) * SHARD}/{pool.count}\n")
    whole = LatentSet(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(LatentSet)))
    save_state(cache, {"key": key} | {field.name: getattr(whole, field.name) for field in fields(whole)})
    return whole.to(device)


def masked_pixels(composites: Tensor, alphas: Tensor) -> tuple[Tensor, Tensor]:
    """What the VAE's served graph makes of a composition.

    Args:
        composites: uint8 [B, H, W, 3]. ``alphas``: uint8 [B, H, W].

    Returns:
        Pixels [B, 3, H, W], 0 where the scene is to be painted, and mask_latents [B, 1, h, w].
    """
    repaint = (alphas < MASK_THRESHOLD)[:, None]
    return torch.where(repaint, 0.0, to_pixels(composites)), repaint[:, :, ::FACTOR, ::FACTOR].float()


def shrunk(pictures: Tensor, times: int) -> Tensor:
    """uint8 [B, H, W, …] → uint8 [B, H/times, W/times, …], every pixel the mean of a square."""
    if times == 1:
        return pictures
    squares = pictures.unflatten(2, (-1, times)).unflatten(1, (-1, times))
    return squares.float().mean(dim=(2, 4)).round().to(torch.uint8)


def unpack_edges(packed: Tensor) -> Tensor:
    """uint8 [B, H, W/8] → float32 [B, 1, H, W], 0 or 1."""
    shifts = torch.arange(7, -1, -1, device=packed.device, dtype=torch.uint8)
    bits = (packed[..., None] >> shifts) & 1
    return bits.flatten(2).float()[:, None]


def mirrored_edges(packed: Tensor) -> Tensor:
    """The mirror image of packed edges: bytes in reverse order, and the bits in each."""
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)[:, ::-1]
    reverse = torch.from_numpy(np.packbits(bits, axis=1)[:, 0])
    return reverse.to(packed.device)[packed.flip(2).long()]


@torch.no_grad()
def _encode_shard(
    arrays: tuple[Tensor, ...],
    ids: Tensor,
    flip: bool,
    shrink: int,
    vae: AutoencoderKL,
    device: torch.device,
    batch_size: int,
) -> LatentSet:
    """A shard's examples, on the CPU.

    Args:
        arrays: those of ``_ARRAYS``.
        flip: encode the mirror images.
    """
    *pictures, product_edges, scene_edges = arrays
    if flip:
        product_edges, scene_edges = mirrored_edges(product_edges), mirrored_edges(scene_edges)
    found: tuple[list[Tensor], ...] = ([], [], [])
    for batch in zip(*(tensor.split(batch_size) for tensor in pictures), strict=True):
        on_device = (shrunk(t.to(device), shrink) for t in batch)
        images, composites, alphas = (t.flip(2) if flip else t for t in on_device)
        hole, mask = masked_pixels(composites, alphas)
        with autocast(device):
            encoded = [vae.encode(pixels).latent_dist.mode() for pixels in (to_pixels(images), hole)]
        for values, tensor in zip(found, (*encoded, mask), strict=True):
            values.append(tensor.half().cpu())
    latents, masked, masks = (torch.cat(values) for values in found)
    return LatentSet(latents, masked, masks, ids, product_edges, scene_edges)


def mirrored_caption(caption: str) -> str:
    """The caption of the mirrored picture."""
    # Whole words: there is "bright" too.
    return re.sub(r"\b(left|right)\b", lambda side: {"left": "right", "right": "left"}[side[0]], caption)


def _key(vae: AutoencoderKL, pool: Pool, mirrored: bool, shrink: int) -> str:
    pictures = f"{pool.kind} {pool.count} {pool.size} {renderer_version()} {mirrored} {shrink}"
    digest = hashlib.sha256(pictures.encode())
    for module in (vae.encoder, vae.quant_conv):
        for tensor in module.state_dict().values():
            digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
