"""Does what is minimised lead where it should? Small models, trained for seconds on toy examples."""

from __future__ import annotations

import pytest
import torch

from packshot_pocket.controlnet.model import make_controlnet
from packshot_pocket.diffusion.latents import LatentSet
from packshot_pocket.diffusion.model import UnetSpec, make_unet
from packshot_pocket.diffusion.sample import Sampling, sample_latents
from packshot_pocket.diffusion.task import DiffusionTask
from packshot_pocket.text.encoder import TextSpec, make_text_encoder
from packshot_pocket.text.tokenizer import make_tokenizer, token_ids
from packshot_pocket.train.loop import Loop, Run
from packshot_pocket.train.plan import Stage
from packshot_pocket.training import Budget, seed_everything
from packshot_pocket.vae.losses import Weights, local_energy, reconstruction_loss

COLOURS = {"red": 1.5, "blue": -1.5}
SIDE = 8
SPEC = UnetSpec((16, 16, 32), (1, 1, 2), 8)
WIDTH = 16


def toy_examples(tokenizer):
    """Even latents whose level is said by the caption; a control image draws the second half brighter."""
    count = 32
    levels = torch.tensor(list(COLOURS.values()))[torch.arange(count) % 2]
    latents = levels[:, None, None, None].expand(count, 4, SIDE, SIDE).clone()
    edges = torch.zeros(count, 8 * SIDE, SIDE, dtype=torch.uint8)
    edges[count // 2 :] = 255
    latents[count // 2 :, 3] = 3.0
    names = list(COLOURS)
    ids = torch.tensor(token_ids(tokenizer, [names[number % 2] for number in range(count)]))
    masks = torch.ones(count, 1, SIDE, SIDE)
    return LatentSet(latents.half(), torch.zeros_like(latents).half(), masks.half(), ids, edges, edges)


class Quiet:
    """Trainings without files: nothing is published or drawn."""

    def publish(self, averaged):
        self.averaged = averaged

    def sheet(self, averaged):
        return torch.zeros(2, 2, 3, dtype=torch.uint8).numpy()


class ToyDiffusion(Quiet, DiffusionTask):
    """The real loss."""


def train(task, folder, steps, rate):
    stage = Stage(task.batch_size, rate, 10, 0.9, 128)
    run = Run(folder, Budget(steps=steps), stage, torch.device("cpu"), 0, False, False, 1e9, 1e9)
    folder.mkdir()
    Loop(task, run).train()
    return task.averaged


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A UNet and a text encoder that learned two colours, and a ControlNet on top."""
    folder = tmp_path_factory.mktemp("toy")
    seed_everything(0)
    tokenizer = make_tokenizer()
    examples = toy_examples(tokenizer)
    plain = LatentSet(*(getattr(examples, name)[:16] for name in examples.__slots__))
    unet, text_encoder = make_unet(SPEC, WIDTH), make_text_encoder(TextSpec(WIDTH, 1, 2), tokenizer)
    alone = ToyDiffusion(unet, text_encoder, None, tokenizer, None, plain, 8, folder)
    averaged = train(alone, folder / "diffusion", 40, 6e-3).train().requires_grad_(True)
    unet, text_encoder = averaged["unet"], averaged["text_encoder"]
    controlnet = make_controlnet(SPEC, unet)
    steered = ToyDiffusion(unet, text_encoder, None, tokenizer, controlnet, examples, 16, folder)
    averaged = train(steered, folder / "controlnet", 90, 6e-3)
    return tokenizer, averaged["unet"], averaged["text_encoder"], averaged["controlnet"]


def sampled(learned, prompt, negative="", controlled=None, **options):
    """Mean level of sampled latents: of the first channel, and of the fourth."""
    tokenizer, unet, text_encoder, controlnet = learned
    with torch.no_grad():
        prompts = text_encoder(torch.tensor(token_ids(tokenizer, [prompt, negative])))[0]
    empty = torch.zeros(1, 4, SIDE, SIDE)
    control = None if controlled is None else torch.full((1, 3, 8 * SIDE, 8 * SIDE), controlled)
    chosen = None if controlled is None else controlnet
    sampling = Sampling(num_inference_steps=10, **options)
    latents = sample_latents(unet, prompts, empty[:, :1] + 1, empty, sampling, chosen, control)
    return latents[0, 0].mean().item(), latents[0, 3].mean().item()


@pytest.mark.parametrize("name", COLOURS)
def test_the_caption_decides_the_colour(learned, name):
    level, _ = sampled(learned, name, guidance_scale=1.0)
    assert abs(level - COLOURS[name]) < 0.7


def test_a_negative_prompt_leads_away(learned):
    assert (
        sampled(learned, "", "red", guidance_scale=3.0)[0]
        < sampled(learned, "", "blue", guidance_scale=3.0)[0]
    )


def test_the_controlnet_s_scale_matters_and_at_0_it_is_ignored(learned):
    def steered(scale):
        """What white edges add to black ones."""
        options = {"controlnet_conditioning_scale": scale, "guidance_scale": 1.0}
        white, black = (sampled(learned, "red", controlled=edges, **options)[1] for edges in (1.0, 0.0))
        return white - black

    assert steered(0.0) == 0
    # Three seeds gave 0.6 to 1.1 at half the scale, and 1.1 to 1.5 at all of it.
    assert 0.2 < steered(0.5) < steered(1.0) - 0.1


def test_texture_that_is_missing_costs_even_where_a_mean_would_err_less():
    noise = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 0.1
    flat = torch.zeros_like(noise)
    other = noise.flip(3)
    without, with_texture = Weights(texture=0.0), Weights(texture=2.0)
    assert reconstruction_loss(flat, noise, without) < reconstruction_loss(other, noise, without)
    assert reconstruction_loss(flat, noise, with_texture) > reconstruction_loss(other, noise, with_texture)
    assert local_energy(other).mean() > 5 * local_energy(flat).mean()
