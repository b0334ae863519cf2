"""The three trainings one after the other, for a few steps each, through their command line."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import CLIPTextModel

from packshot_export.families import SPECS
from packshot_export.parts import open_parts
from packshot_export.random_parts import make_sam, sam_preprocessor
from packshot_pocket.diffusion import latents
from packshot_pocket.diffusion import task as diffusion_task
from packshot_pocket.diffusion.sample import Sampling, paint_scenes
from packshot_pocket.renderer import render_studio
from packshot_pocket.scenes import pool
from packshot_pocket.text.tokenizer import make_tokenizer, token_ids
from packshot_pocket.train import cli
from packshot_pocket.train.plan import PLANS, Stage
from packshot_pocket.train.request import Request
from packshot_pocket.training import Budget, load_state
from packshot_pocket.vae import task as vae_task


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    """The directory of a family that was trained for two steps a model."""
    folder = tmp_path_factory.mktemp("family")
    stage = Stage(batch_size=2, peak_rate=1e-3, warmup_steps=1, ema_decay=0.9, scenes=4)
    plan = replace(PLANS["cpu"], vae=stage, diffusion=stage, controlnet=stage, crop=32, snapshots=4, size=64)

    def fill(self, workers):
        for shard in range(self.shards):
            self.draw(shard)

    with pytest.MonkeyPatch.context() as patch:
        for module in (pool, latents):
            patch.setattr(module, "SHARD", 4)
        patch.setattr(pool.Pool, "fill", fill)
        patch.setitem(PLANS, "cpu", plan)
        for task in (vae_task, diffusion_task):
            patch.setattr(task, "_SHEET_SEEDS", range(1))
        patch.setattr(diffusion_task, "paint_scenes", unpainted)
        for model in ("vae", "diffusion", "controlnet"):
            assert cli.main([model, "--output", str(folder), "--steps", "2"]) == 0
        again = [
            "--output",
            str(folder / "again"),
            "--scenes",
            str(folder / "scenes"),
            "--start",
            str(folder),
        ]
        assert cli.main(["vae", *again, "--decoder-only", "--steps", "2"]) == 0
    return folder


def unpainted(scenes, *_, **__):
    """In place of 20 steps of sampling: the scenes themselves."""
    return np.stack([scene.image for scene in scenes])


def test_every_training_leaves_a_sheet_and_a_state(family):
    for model in ("vae", "diffusion", "controlnet"):
        assert (family / "training" / model / f"{model}-000002.png").is_file()
        assert (family / "training" / model / "state.pt").is_file()
    assert load_state(family / "training" / "controlnet" / "state.pt")["foundation"] == {
        "vae": 2,
        "diffusion": 2,
    }


def test_the_checkpoints_are_a_family_that_can_be_exported(family, tmp_path):
    with torch.no_grad():
        make_sam(SPECS["tiny-sd2"]).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(sam_preprocessor(SPECS["tiny-sd2"])))
    parts = open_parts(
        str(family / "diffusion"), [str(family / "controlnet")], str(tmp_path), "fp16", "pocket"
    )
    assert parts.family.dims["C"] == 4
    assert parts.family.dims["D"] == 64
    assert parts.family.scheduler["prediction_type"] == "v_prediction"
    for load in (parts.load_unet, parts.load_controlnets, parts.load_vae, parts.load_text_encoder):
        load()


def test_a_training_may_start_from_a_familys_weights(family, tmp_path):
    def request(start):
        return Request("diffusion", tmp_path, tmp_path, Budget(steps=1), "cpu", 4, 1, 0, False, False, start)

    kinds = {
        "diffusion/unet": UNet2DConditionModel,
        "diffusion/text_encoder": CLIPTextModel,
        "controlnet": ControlNetModel,
    }
    for part, kind in kinds.items():
        model = request(family).begun(kind, part)
        (file,) = (family / part).glob("*.safetensors")
        for name, tensor in load_file(file).items():
            assert torch.equal(model.state_dict()[name], tensor.float()), name
        assert all(p.requires_grad and p.dtype == torch.float32 for p in model.parameters())
    assert request(None).begun(UNet2DConditionModel, "diffusion/unet") is None


def test_a_decoder_that_learns_on_leaves_the_latents_where_they_are(family):
    (file,) = (family / "diffusion" / "vae").glob("*.safetensors")
    before, after = load_file(file), load_file(family / "again" / "diffusion" / "vae" / file.name)
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"decoder", "post_quant_conv"}


def test_a_decoder_alone_needs_weights_to_start_from(tmp_path, capsys):
    with pytest.raises(SystemExit):
        cli.main(["vae", "--output", str(tmp_path), "--steps", "1", "--decoder-only"])
    assert "--decoder-only: got no --start" in capsys.readouterr().err


def test_no_path_of_the_machine_is_in_a_checkpoint(family):
    """Those of what was read to be trained on, too: the ControlNet's UNet, the second VAE."""
    configs = [*family.glob("diffusion/*/config.json"), *family.glob("*/diffusion/vae/config.json")]
    configs += family.glob("controlnet/config.json")
    assert len(configs) == 5
    for path in configs:
        assert str(family) not in path.read_text(), path


def test_checkpoints_are_shipped_in_half_precision(family):
    files = [*family.glob("diffusion/*/*.safetensors"), *family.glob("controlnet/*.safetensors")]
    assert len(files) == 4
    for path in files:
        assert {tensor.dtype for tensor in load_file(path).values()} <= {torch.float16, torch.int64}


def test_scenes_are_repainted_around_their_products(family):
    def load(kind, part):
        return kind.from_pretrained(family / part, torch_dtype=torch.float32, low_cpu_mem_usage=False)

    unet, vae = load(UNet2DConditionModel, "diffusion/unet"), load(AutoencoderKL, "diffusion/vae")
    text_encoder = CLIPTextModel.from_pretrained(family / "diffusion" / "text_encoder", dtype=torch.float32)
    models = (unet, text_encoder, vae, make_tokenizer())
    scenes = [render_studio(1, 64, "held_out")]
    plain = paint_scenes(scenes, *models, Sampling(num_inference_steps=2))
    whole = scenes[0].alpha == 255
    assert (plain[0][whole] == scenes[0].foreground[whole]).all()
    controlnet = load(ControlNetModel, "controlnet")
    unheard = Sampling(num_inference_steps=2, controlnet_conditioning_scale=0.0)
    ignored = paint_scenes(scenes, *models, unheard, controlnet)
    assert (ignored == plain).all()


def test_the_vae_s_latents_are_normalised(family):
    vae = AutoencoderKL.from_pretrained(
        family / "diffusion" / "vae", torch_dtype=torch.float32, low_cpu_mem_usage=False
    )
    assert vae.config.scaling_factor == 1.0
    state = torch.load(family / "training" / "latents-1.pt")
    assert abs(float(state["latents"].float().mean())) < 0.5
    assert 0.5 < float(state["latents"].float().std()) < 2


def test_words_of_no_caption_change_a_prompt_alike(family):
    text_encoder = CLIPTextModel.from_pretrained(family / "diffusion" / "text_encoder", dtype=torch.float32)
    tokenizer = make_tokenizer()
    ids = torch.tensor(token_ids(tokenizer, ["zebra", "quantum"]))
    with torch.no_grad():
        one, other = text_encoder(ids)[0]
    assert torch.equal(one, other)


def test_the_controlnet_has_learned_something(family):
    controlnet = ControlNetModel.from_pretrained(family / "controlnet", low_cpu_mem_usage=False)
    assert any((block.weight != 0).any() for block in controlnet.controlnet_down_blocks)
