"""Checkpoints that do not fit are refused by their configs, with both numbers."""

from __future__ import annotations

import json
import shutil

import pytest

from packshot.errors import ExportError, InvalidArgument, PackshotError
from packshot_export.families import SPECS
from tests.export.conftest import made, parts_of

SD2 = SPECS["tiny-sd2"]


@pytest.fixture
def copy(checkpoints, tmp_path):
    """A copy of the checkpoints, and a way to change one of its configs."""
    target = tmp_path / "checkpoints"
    shutil.copytree(checkpoints, target)

    def change(file: str, **values: object):
        path = target / file
        path.write_text(json.dumps(json.loads(path.read_text()) | values))
        return target

    return change


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        (
            "diffusion/unet/config.json",
            {"in_channels": 4},
            r"diffusion\.unet\.in_channels: got 4, expected 9",
        ),
        (
            "diffusion/unet/config.json",
            {"cross_attention_dim": 48},
            r"diffusion\.text_encoder\.hidden_size: got 32, expected 48, the UNet's cross_attention_dim",
        ),
        (
            "diffusion/vae/config.json",
            {"latent_channels": 16},
            r"diffusion\.vae\.latent_channels: got 16, expected 4, the UNet's out_channels",
        ),
        (
            "diffusion/tokenizer/tokenizer_config.json",
            {"model_max_length": 80},
            r"diffusion\.tokenizer\.model_max_length: got 80, expected at most 77",
        ),
        (
            "controlnet/config.json",
            {"cross_attention_dim": 24},
            r"controlnet\.0\.cross_attention_dim: got 24, expected 32, the UNet's",
        ),
        (
            "controlnet/config.json",
            {"block_out_channels": [8, 16, 32, 32]},
            r"controlnet\.0\.block_out_channels: got \[8, 16, 32, 32\], expected \[8, 16, 16, 16\], the UNet's",
        ),
        (
            "controlnet/config.json",
            {"layers_per_block": 2},
            r"controlnet\.0\.layers_per_block: got 2, expected 1, the UNet's",
        ),
        (
            "controlnet/config.json",
            {"in_channels": 8},
            r"controlnet\.0\.in_channels: got 8, expected 4 \(latents\) or 9",
        ),
        (
            "sam/config.json",
            {"mask_decoder_config": {"num_multimask_outputs": 5}},
            r"sam\.mask_decoder_config\.num_multimask_outputs: got 5, expected 3",
        ),
        (
            "controlnet/config.json",
            {"conditioning_embedding_out_channels": [4, 8, 16]},
            r"controlnet\.0: its control embedding's downscale factor: got 4, expected 8, the VAE's",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused_with_both_numbers(copy, file, values, message):
    with pytest.raises(InvalidArgument, match=message):
        parts_of(copy(file, **values))


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        ("diffusion/unet/config.json", {"addition_embed_type": "text_time"}, "'text_time'.*SDXL"),
        ("diffusion/unet/config.json", {"num_class_embeds": 10}, "class labels cannot be served"),
        ("diffusion/unet/config.json", {"time_cond_proj_dim": 256}, "embedded guidance"),
        ("diffusion/unet/config.json", {"_class_name": "UNetMotionModel"}, "expected a UNet2DConditionModel"),
        ("controlnet/config.json", {"_class_name": "ControlNetUnionModel"}, "expected a ControlNetModel"),
        ("diffusion/vae/config.json", {"_class_name": "AutoencoderTiny"}, "expected AutoencoderKL"),
        ("sam/config.json", {"model_type": "sam2"}, "got a checkpoint of sam2, expected sam"),
        ("diffusion/scheduler/scheduler_config.json", {"thresholding": True}, "diffusion: .*thresholding"),
        ("diffusion/scheduler/scheduler_config.json", {"beta_schedule": "no"}, "diffusion: .*beta_schedule"),
    ],
)
def test_kinds_that_cannot_be_served_are_refused(copy, file, values, message):
    with pytest.raises(ExportError, match=message):
        parts_of(copy(file, **values))


def test_a_controlnet_of_another_family_is_refused(checkpoints, tmp_path):
    other = made(SPECS["tiny-sd15"], tmp_path) / "controlnet"
    with pytest.raises(InvalidArgument, match=r"controlnet\.1\.cross_attention_dim: got 24, expected 32"):
        parts_of(checkpoints, (checkpoints / "controlnet", other))


@pytest.mark.parametrize("file", ["diffusion/unet/config.json", "controlnet/config.json", "sam/config.json"])
def test_a_directory_that_is_no_checkpoint_is_refused(copy, file):
    directory = copy(file)
    (directory / file).unlink()
    with pytest.raises(PackshotError, match=r"has no .*config\.json; expected a checkpoint"):
        parts_of(directory)


def test_missing_weights_are_not_made_up(copy):
    """diffusers and transformers would fill them with random numbers and go on."""
    directory = copy("controlnet/config.json", down_block_types=["CrossAttnDownBlock2D"] * 4)
    with pytest.raises(ExportError, match=r"controlnet\.0: .* lacks \d+ weights of ControlNetModel"):
        parts_of(directory).load_controlnets()


def test_damaged_weights_are_refused(copy):
    directory = copy("sam/config.json")
    weights = directory / "sam" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ExportError, match=r"sam: .* does not load as SamModel"):
        parts_of(directory).load_sam()


def test_a_checkpoint_may_say_what_suits_it(copy):
    assert parts_of(copy("diffusion/model_index.json")).family.generation_config == {}
    path = copy("diffusion/model_index.json") / "diffusion/generation_config.json"
    path.write_text('{"guidance_scale": 2.0}')
    assert parts_of(path.parents[1]).family.generation_config == {"guidance_scale": 2.0}
    path.write_text('{"guidance": 2.0}')
    with pytest.raises(
        InvalidArgument, match="generation_config: got guidance, expected some of num_inference"
    ):
        parts_of(path.parents[1])


@pytest.mark.parametrize(("sample_size", "side"), [(96, 768), ([48, 64], 512), (None, 512), (999, 1024)])
def test_the_canvas_that_a_unet_was_trained_on_is_its_own(copy, sample_size, side):
    checkpoints = copy("diffusion/unet/config.json", sample_size=sample_size)
    assert parts_of(checkpoints).family.canvas.native_side == side
