"""The VAE: what of a picture survives it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from packshot_export.vae_graphs import VaeDecoder, VaeEncoder
from packshot_pocket.evaluation.pictures import grown, laplacian_energy, psnr
from packshot_pocket.evaluation.report import Measure, Section
from packshot_pocket.evaluation.sheets import write_sheets
from packshot_pocket.renderer import render_studio


@torch.no_grad()
def evaluate_vae(checkpoint: Path, output: Path, count: int, device: str) -> Section:
    """Encode and decode ``count`` held-out scenes with the exported graphs' modules; write sheets."""
    vae = AutoencoderKL.from_pretrained(checkpoint, low_cpu_mem_usage=False).eval()
    encoder, decoder = VaeEncoder(vae).to(device), VaeDecoder(vae).to(device)
    overall, backgrounds, products, kept, true, rows = [], [], [], [], [], []
    for seed in range(count):
        scene = render_studio(seed, split="held_out")
        keep = torch.zeros((1, *scene.mask.shape), dtype=torch.uint8, device=device)
        latents = encoder(torch.from_numpy(scene.image)[None].to(device), keep)["masked_image_latents"]
        picture = decoder(latents)["image"][0].cpu().numpy()
        background = ~grown(scene.mask, 3)
        overall.append(psnr(scene.image, picture))
        backgrounds.append(psnr(scene.image, picture, background))
        products.append(psnr(scene.image, picture, scene.mask))
        kept.append(laplacian_energy(picture, background))
        true.append(laplacian_energy(scene.image, background))
        rows.append([scene.image, picture])
    write_sheets(output, "vae", rows[:48], ("rendered", "through the VAE"))
    ratios = np.array(kept) / np.maximum(true, 1.0)
    return Section(
        "vae",
        (0, count - 1),
        [
            Measure("PSNR of backgrounds, dB", float(np.mean(backgrounds)), count, at_least=36),
            Measure("PSNR of whole pictures, dB", float(np.mean(overall)), count, at_least=31),
            Measure("PSNR of products, dB", float(np.mean(products)), count),
            Measure("Laplacian energy of backgrounds over the truth's, all together",
                    float(np.sum(kept) / np.sum(true)), count, at_least=0.4, truth=1.0),
            Measure("the same, median picture", float(np.median(ratios)), count, truth=1.0),
        ],
    )  # fmt: skip
