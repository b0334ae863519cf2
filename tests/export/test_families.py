"""The random families: real formats, nothing degenerate, the same everywhere."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from transformers import CLIPTokenizer

from packshot.errors import InvalidArgument
from packshot.family import sha256
from packshot_export.checkpoints import Source
from packshot_export.families import main, make_family
from packshot_export.loading import load_model
from tests.export.conftest import parts_of


def test_the_same_name_gives_the_same_weights_with_any_number_of_threads(checkpoints, tmp_path):
    threads = torch.get_num_threads()
    for number in (1, 2):
        torch.set_num_threads(number)
        try:
            assert main(["tiny-sd2", str(tmp_path / str(number))]) == 0
        finally:
            torch.set_num_threads(threads)
        files = list(checkpoints.rglob("*.safetensors"))
        assert len(files) == 5
        for file in files:
            made = tmp_path / str(number) / file.relative_to(checkpoints)
            assert sha256(made) == sha256(file), file.name


def test_an_unknown_name_is_refused(tmp_path, capsys):
    with pytest.raises(InvalidArgument, match="'sdxl', expected one of tiny-sd2, tiny-sd15, full-sd2"):
        make_family("sdxl", tmp_path)
    assert main(["sdxl", str(tmp_path)]) == 2
    assert "sdxl" in capsys.readouterr().err


def test_shapes_are_those_of_stable_diffusion(family):
    checkpoints, _ = family
    parts = parts_of(checkpoints)
    unet = parts.diffusion.config("unet/config.json")
    assert (unet["in_channels"], len(unet["down_block_types"])) == (9, 4)
    if checkpoints.parent.name.startswith("tiny-sd2"):
        assert unet["use_linear_projection"]
        assert len(set(unet["attention_head_dim"])) > 1
        assert parts.tokenizer.pad_token == "!"
        assert parts.family.scheduler["prediction_type"] == "v_prediction"
    else:
        assert not unet["use_linear_projection"]
        assert unet["attention_head_dim"] == 8
        assert parts.tokenizer.pad_token == "<|endoftext|>"
        assert parts.family.scheduler["prediction_type"] == "epsilon"


@torch.no_grad()
def test_every_input_of_the_denoiser_matters(family):
    checkpoints, _ = family
    unet = load_model(Source("diffusion", str(checkpoints / "diffusion")), UNet2DConditionModel, "unet")
    controlnet = load_model(Source("controlnet.0", str(checkpoints / "controlnet")), ControlNetModel)
    generator = torch.Generator().manual_seed(0)
    sample = torch.randn(1, 9, 16, 16, generator=generator)
    prompts = torch.randn(2, 1, 77, unet.config.cross_attention_dim, generator=generator)
    images = torch.rand(2, 1, 3, 128, 128, generator=generator).round()

    def predict(prompt, image, scale):
        down, middle = controlnet(
            sample[:, :4], 500.0, prompt, image, conditioning_scale=scale, return_dict=False
        )
        return unet(sample, 500.0, prompt, None, None, None, None, None, down, middle).sample

    base = predict(prompts[0], images[0], 1.0)
    assert 0.1 < base.std() < 3
    for what, changed in (
        ("prompt", predict(prompts[1], images[0], 1.0)),
        ("control image", predict(prompts[0], images[1], 1.0)),
        ("scale", predict(prompts[0], images[0], 0.0)),
    ):
        assert (changed - base).std() > 0.02, what


@torch.no_grad()
def test_the_vae_maps_noise_to_pictures(family):
    checkpoints, _ = family
    vae = load_model(Source("diffusion", str(checkpoints / "diffusion")), AutoencoderKL, "vae")
    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    assert 0.2 < vae.decode(latents / vae.config.scaling_factor).sample.std() < 1


def test_prompts_have_different_ids(checkpoints):
    tokenizer = CLIPTokenizer.from_pretrained(checkpoints / "diffusion" / "tokenizer")
    short = tokenizer("a photo of the product").input_ids
    assert len(short) == 7  # words of the merges are single tokens
    assert short != tokenizer("a photo of the table").input_ids
    assert tokenizer.decode(short, skip_special_tokens=True) == "a photo of the product"
