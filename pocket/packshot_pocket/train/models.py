"""One function for each model: makes it, trains it, writes its checkpoint."""

from __future__ import annotations

from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from packshot_pocket.controlnet.model import make_controlnet
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
    vae = request.begun(AutoencoderKL, "diffusion/vae") or request.placed(make_vae(VaeSpec()))
    output = request.output / "diffusion" / "vae"
    task = VaeTask(vae, pools, plan.crop, plan.vae.batch_size, output, request.decoder_only)
    Loop(task, request.run(plan.vae)).train()


def train_diffusion(request: Request) -> None:
    """Train the text encoder and the UNet, and write the rest of ``diffusion``. Needs the VAE."""
    stage = request.plan.diffusion
    tokenizer, text_spec = make_tokenizer(), TextSpec()
    unet = request.begun(UNet2DConditionModel, "diffusion/unet")
    unet = unet or request.placed(make_unet(UnetSpec(), text_spec.width))
    text_encoder = request.begun(CLIPTextModel, "diffusion/text_encoder")
    text_encoder = text_encoder or request.placed(make_text_encoder(text_spec, tokenizer))
    vae = request.trained_vae()
    fine, coarse = (request.examples(stage, vae, tokenizer, shrink) for shrink in (1, 2))
    models = (unet, text_encoder, vae, tokenizer, None)
    task = DiffusionTask(*models, fine, stage.batch_size, request.output, coarse, request.plan.coarse_share)
    Loop(task, request.run(stage)).train()


def train_controlnet(request: Request) -> None:
    """Train the ControlNet, and the UNet and the text encoder on with it. Needs all of ``diffusion``."""
    stage, family = request.plan.controlnet, request.output
    tokenizer = CLIPTokenizer.from_pretrained(family / "diffusion" / "tokenizer")
    text_encoder = request.read(CLIPTextModel, family / "diffusion" / "text_encoder")
    unet = request.read(UNet2DConditionModel, family / "diffusion" / "unet")
    begun = request.begun(ControlNetModel, "controlnet")
    controlnet = begun or request.placed(make_controlnet(UnetSpec(), unet))
    vae = request.trained_vae()
    examples = request.examples(stage, vae, tokenizer)
    models = (unet, text_encoder, vae, tokenizer, controlnet)
    task = DiffusionTask(*models, examples, stage.batch_size, family)
    Loop(task, request.run(stage)).train()


def render(request: Request) -> None:
    """Draw what the training of ``request.model`` needs. It would do so itself."""
    plan = request.plan
    stages = {"vae": plan.vae, "diffusion": plan.diffusion, "controlnet": plan.controlnet}
    if request.model == "vae":
        request.snapshots()
    request.pool(stages[request.model])


TRAININGS = {"vae": train_vae, "diffusion": train_diffusion, "controlnet": train_controlnet}
