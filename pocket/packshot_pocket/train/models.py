"""One function for each model: makes it, trains it, writes its checkpoint."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from packshot_pocket.controlnet.model import make_controlnet
from packshot_pocket.controlnet.task import ControlNetTask
from packshot_pocket.diffusion.model import UnetSpec, make_unet
from packshot_pocket.diffusion.task import DiffusionTask
from packshot_pocket.text.encoder import TextSpec, make_text_encoder
from packshot_pocket.text.tokenizer import make_tokenizer
from packshot_pocket.train.loop import Loop
from packshot_pocket.train.request import Request
from packshot_pocket.vae.model import VaeSpec, make_vae
from packshot_pocket.vae.task import VaeTask


def train_vae(request: Request) -> None:
    """Train the VAE and write ``diffusion/vae``."""
    plan = request.plan
    pools = [request.pool(plan.vae), request.snapshots()]
    vae = request.placed(request.begun(AutoencoderKL, "diffusion/vae") or make_vae(VaeSpec()))
    task = VaeTask(vae, pools, plan.crop, plan.vae.batch_size, request.output / "diffusion" / "vae")
    Loop(task, request.run(plan.vae)).train()


def train_diffusion(request: Request) -> None:
    """Train the text encoder and the UNet, and write the rest of ``diffusion``. Needs the VAE."""
    stage, device = request.plan.diffusion, torch.device(request.device)
    tokenizer, text_spec = make_tokenizer(), TextSpec()
    unet = request.begun(UNet2DConditionModel, "diffusion/unet") or make_unet(UnetSpec(), text_spec.width)
    begun = request.begun(CLIPTextModel, "diffusion/text_encoder")
    unet, text_encoder = request.placed(unet), (begun or make_text_encoder(text_spec, tokenizer)).to(device)
    vae, output = request.trained("vae"), request.output / "diffusion"
    fine, coarse = (request.examples(stage, vae, tokenizer, shrink) for shrink in (1, 2))
    share = request.plan.coarse_share
    task = DiffusionTask(unet, text_encoder, vae, tokenizer, fine, coarse, share, stage.batch_size, output)
    Loop(task, request.run(stage)).train()


def train_controlnet(request: Request) -> None:
    """Train the ControlNet and write ``controlnet``. Needs all of ``diffusion``."""
    stage, device = request.plan.controlnet, torch.device(request.device)
    folder, output = request.output / "diffusion", request.output / "controlnet"
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32).to(device)
    vae, unet = request.trained("vae"), request.trained("unet")
    begun = request.begun(ControlNetModel, "controlnet")
    controlnet = request.placed(begun or make_controlnet(UnetSpec(), unet))
    examples = request.examples(stage, vae, tokenizer)
    models = (controlnet, unet, text_encoder, vae, tokenizer)
    Loop(ControlNetTask(*models, examples, stage.batch_size, output), request.run(stage)).train()


def render(request: Request) -> None:
    """Draw what the training of ``request.model`` needs. It would do so itself."""
    plan = request.plan
    stages = {"vae": plan.vae, "diffusion": plan.diffusion, "controlnet": plan.controlnet}
    if request.model == "vae":
        request.snapshots()
    request.pool(stages[request.model])


TRAININGS = {"vae": train_vae, "diffusion": train_diffusion, "controlnet": train_controlnet}
