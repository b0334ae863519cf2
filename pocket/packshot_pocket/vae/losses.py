"""What a good reconstruction is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d


@dataclass(frozen=True, slots=True)
class Weights:
    """Of the terms of the loss, for pixels in [−1, 1].

    Attributes:
        square: of squared errors, against 1 for absolute ones.
        edge: of errors of differences between neighbours.
        texture: of errors of the local energy of fine detail, wherever exactly it lies: a decoder
            that only minimises errors leaves grain and weave out.
        divergence: of the latents' Kullback-Leibler divergence from a normal distribution.
    """

    square: float = 2.0
    edge: float = 1.0
    texture: float = 1.0
    divergence: float = 1e-4


def reconstruction_loss(decoded: Tensor, pixels: Tensor, weights: Weights) -> Tensor:
    """How far a decoded picture is from the original.

    Args:
        decoded: float32 [B, 3, H, W] in about [−1, 1]; ``pixels`` likewise.
    """
    error = decoded - pixels
    edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
    energy = (local_energy(decoded) - local_energy(pixels)).abs().mean()
    return (
        error.abs().mean()
        + weights.square * error.square().mean()
        + weights.edge * edges
        + weights.texture * energy
    )


def local_energy(pixels: Tensor, window: int = 8) -> Tensor:
    """Root of the mean squared Laplacian in windows of the luma: [B, 1, H/window, W/window]."""
    luma = pixels.mean(dim=1, keepdim=True)
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]], device=pixels.device, dtype=pixels.dtype)
    laplacian = conv2d(luma, kernel[None, None])
    return (avg_pool2d(laplacian.square(), window) + 1e-5).sqrt()


def psnr(decoded: Tensor, pixels: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, of all pixels together."""
    error = (decoded.clamp(-1, 1) - pixels).square().mean()
    return 10 * torch.log10(4 / error)
