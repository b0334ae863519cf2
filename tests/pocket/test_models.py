"""The models: what they are made of and what they begin with."""

from __future__ import annotations

import gzip
from importlib import resources

import pytest
import torch
from transformers import CLIPTokenizer

from packshot.edges import canny
from packshot_export.tokenizer_file import write_tokenizer
from packshot_export.vae_graphs import VaeEncoder
from packshot_pocket.controlnet.edges import choose_edges
from packshot_pocket.controlnet.model import make_controlnet
from packshot_pocket.diffusion.latents import (
    masked_pixels,
    mirrored_caption,
    mirrored_edges,
    shrunk,
    unpack_edges,
)
from packshot_pocket.diffusion.model import UnetSpec, make_scheduler, make_unet
from packshot_pocket.diffusion.noise import add_noise
from packshot_pocket.renderer import render_studio
from packshot_pocket.scenes.pool import composite, pack_edges
from packshot_pocket.text.encoder import TextSpec, Vocabulary, make_text_encoder
from packshot_pocket.text.tokenizer import make_tokenizer, token_ids
from packshot_pocket.vae.model import VaeSpec, fold_normalisation, make_vae, to_images, to_pixels

SMALL_UNET = UnetSpec((16, 16, 32), (1, 1, 2), 8)


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


@pytest.fixture(scope="module")
def vae():
    torch.manual_seed(0)
    return make_vae(VaeSpec((8, 16, 24, 32), 4)).eval()


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


def test_the_family_fits_its_size(tokenizer):
    unet = make_unet(UnetSpec(), 64)
    models = (
        unet,
        make_controlnet(UnetSpec(), unet),
        make_vae(VaeSpec()),
        make_text_encoder(TextSpec(), tokenizer),
    )
    # 48 MiB in fp16, of which SAM has 8.
    assert 2 * sum(map(parameters, models)) < 40 * 2**20


def test_the_tokenizer_is_clip_s(tokenizer):
    assert len(tokenizer) == 49408
    ids = token_ids(tokenizer, ["a photo of a cat"])[0]
    # From the documentation of CLIP: the ids of its zero-shot prompts.
    assert ids[:7] == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert ids[7:] == [49407] * 70


def test_the_tokenizer_survives_saving_and_the_export(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    again = CLIPTokenizer.from_pretrained(tmp_path)
    prompt = ["Teal marble, naïve 35mm!"]
    assert token_ids(again, prompt) == token_ids(tokenizer, prompt)
    write_tokenizer(again, tmp_path / "tokenizer.json")


def test_the_vocabulary_is_shipped_with_its_licence():
    folder = resources.files("packshot_pocket.text").joinpath("clip")
    assert len(gzip.decompress(folder.joinpath("merges.txt.gz").read_bytes()).splitlines()) == 48894
    assert "OpenAI" in folder.joinpath("LICENSE").read_text()


def test_unknown_words_are_put_between_the_words_of_some_captions(tokenizer):
    rows = torch.tensor(token_ids(tokenizer, ["a red mug", ""]))
    vocabulary = Vocabulary(rows, len(tokenizer))
    ids = rows.repeat_interleave(200, 0)
    mixed = vocabulary.sprinkle(ids, 0.5, torch.Generator().manual_seed(0), tokenizer.eos_token_id)
    changed = (mixed != ids).any(dim=1)
    assert 0.4 < changed.float().mean() < 0.6
    assert (mixed[:, 0] == tokenizer.bos_token_id).all()
    assert ((mixed == vocabulary.unknown).sum(dim=1) == changed).all()
    for before, after in zip(ids[changed], mixed[changed], strict=True):
        assert after[after != vocabulary.unknown].tolist() == before[:-1].tolist()
        words = (before != tokenizer.eos_token_id).sum()
        assert (after == vocabulary.unknown).nonzero()[0, 0] <= words


def test_unused_tokens_end_with_the_embedding_of_some_word(tokenizer):
    text_encoder = make_text_encoder(TextSpec(8, 1, 2), tokenizer)
    rows = token_ids(tokenizer, ["a red mug"])
    vocabulary = Vocabulary(torch.tensor(rows), len(tokenizer))
    table = text_encoder.get_input_embeddings().weight
    before = table.detach().clone()
    vocabulary.settle(text_encoder)
    known = torch.tensor(sorted(set(rows[0])))
    assert (table[known] == before[known]).all()
    assert (table[torch.tensor([777, 12345])] == before[vocabulary.unknown]).all()


def test_folding_moves_the_latents_and_not_the_pictures(vae):
    pixels = torch.rand(2, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        posterior = vae.encode(pixels).latent_dist
        latents, decoded, spread_before = posterior.mode(), vae.decode(posterior.mode()).sample, posterior.std
        mean, spread = latents.mean(dim=(0, 2, 3)), latents.std(dim=(0, 2, 3))
        fold_normalisation(vae, mean, spread)
        posterior = vae.encode(pixels).latent_dist
        torch.testing.assert_close(posterior.mean.mean(dim=(0, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0)
        torch.testing.assert_close(posterior.mean.std(dim=(0, 2, 3)), torch.ones(4), atol=1e-5, rtol=0)
        torch.testing.assert_close(posterior.std, spread_before / spread[None, :, None, None])
        torch.testing.assert_close(vae.decode(posterior.mode()).sample, decoded, atol=1e-5, rtol=1e-4)


def test_pixels_and_images_are_inverses():
    images = torch.arange(256, dtype=torch.uint8).repeat(3).reshape(1, 16, 16, 3)
    assert (to_images(to_pixels(images)) == images).all()


def test_the_unet_is_trained_on_what_the_served_graph_encodes(vae):
    scene = render_studio(1, 64)
    product = torch.from_numpy(composite(scene.foreground, scene.alpha))[None]
    alpha = torch.from_numpy(scene.alpha)[None]
    pixels, masks = masked_pixels(product, alpha)
    mask_image = torch.where(alpha < 128, 255, 0).to(torch.uint8)
    with torch.no_grad():
        served = VaeEncoder(vae)(product, mask_image)
        ours = vae.encode(pixels).latent_dist.mode()
    assert (served["mask_latents"] == masks).all()
    torch.testing.assert_close(served["masked_image_latents"], ours, atol=1e-4, rtol=1e-4)


def test_a_mirrored_caption_swaps_sides_and_no_syllables():
    caption = "a cup, bright orange backdrop, lit from the left, key light right"
    assert mirrored_caption(caption) == "a cup, bright orange backdrop, lit from the right, key light left"


def test_edges_are_packed_without_a_loss():
    scene = render_studio(2, 64)
    edges = canny(scene.image) > 0
    packed = torch.from_numpy(pack_edges([edges]))
    assert (unpack_edges(packed)[0, 0].numpy() == edges).all()
    assert (unpack_edges(mirrored_edges(packed))[0, 0].numpy() == edges[:, ::-1]).all()


def test_control_images_keep_the_product_s_edges_and_drop_others():
    product, scene = torch.zeros(300, 1, 16, 16), torch.zeros(300, 1, 16, 16)
    product[:, :, 8], scene[:, :, 2] = 1, 1
    chosen = choose_edges(product, scene, torch.Generator().manual_seed(0))
    assert (chosen[:, :, 8] == 1).all()
    shown = chosen[:, 0, 2].mean(dim=1)
    assert 0.45 < (shown == 1).float().mean() < 0.65
    assert 0.3 < (shown == 0).float().mean() < 0.5
    assert ((shown > 0) & (shown < 1)).any()
    assert (chosen <= torch.maximum(product, scene)).all()


def test_a_fresh_controlnet_changes_nothing_and_begins_as_the_unet():
    unet = make_unet(SMALL_UNET, 16)
    controlnet = make_controlnet(SMALL_UNET, unet)
    assert (controlnet.conv_in.weight == unet.conv_in.weight).all()
    assert (controlnet.mid_block.resnets[0].conv1.weight == unet.mid_block.resnets[0].conv1.weight).all()
    with torch.no_grad():
        down, middle = controlnet(
            torch.rand(1, 9, 8, 8), 5, torch.rand(1, 77, 16), torch.rand(1, 3, 64, 64), return_dict=False
        )
    assert all((residual == 0).all() for residual in (*down, middle))


def test_a_fresh_controlnet_sees_edges_as_strongly_as_latents():
    torch.manual_seed(0)
    controlnet = make_controlnet(SMALL_UNET, make_unet(SMALL_UNET, 16))
    edges = torch.from_numpy(canny(render_studio(0, 256).image)).float().expand(1, 3, -1, -1) / 255
    with torch.no_grad():
        embedding = controlnet.controlnet_cond_embedding
        seen = embedding(edges) - embedding(torch.zeros_like(edges))
        latents = controlnet.conv_in(torch.randn(1, 9, 32, 32))
    assert 0.3 < seen.std() / latents.std() < 3


def test_the_last_timestep_is_pure_noise_and_is_trained_often():
    scheduler = make_scheduler()
    assert scheduler.alphas_cumprod[-1] == 0
    latents, masks = torch.ones(4000, 4, 4, 4), torch.ones(4000, 1, 4, 4)
    noised = add_noise(latents, masks, latents, scheduler, torch.Generator().manual_seed(0))
    last = noised.timesteps == 999
    assert 0.06 < last.float().mean() < 0.11
    # Without any signal the velocity is the negative of the latents.
    torch.testing.assert_close(noised.target[last], -latents[last], atol=1e-5, rtol=0)
    assert noised.sample[last, :4].mean().abs() < 0.02


def test_only_what_is_painted_counts_fully_and_the_rim_most():
    masks = torch.ones(1, 1, 12, 12)
    masks[:, :, 4:8, 4:8] = 0
    latents = torch.zeros(1, 4, 12, 12)
    noised = add_noise(latents, masks, latents, make_scheduler(), torch.Generator().manual_seed(0))
    assert noised.weights[0, 0, 5, 5] < noised.weights[0, 0, 0, 0] < noised.weights[0, 0, 3, 5]
    # Kept for its first pixel, but the rest of it may be table.
    assert noised.weights[0, 0, 4, 5] == noised.weights[0, 0, 3, 5]
    assert noised.loss(noised.target) == 0


def test_a_fresh_vae_s_latents_are_hardly_noised():
    torch.manual_seed(0)
    posterior = make_vae(VaeSpec()).encode(torch.rand(1, 3, 64, 64) * 2 - 1).latent_dist
    assert posterior.std.max() < 0.1
    assert posterior.mean.std() > posterior.std.max()


def test_a_fresh_vae_is_a_codec_of_thumbnails():
    vae = make_vae(VaeSpec()).eval()
    colours = torch.rand(2, 3, 4, 4) * 2 - 1
    blocks = colours.repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)
    with torch.no_grad():
        latents = vae.encode(blocks).latent_dist.mode()
        decoded = vae.decode(latents).sample
    inner = (..., slice(8, -8), slice(8, -8))
    assert torch.allclose(latents[:, :3], colours, atol=0.15)
    # Nearest upsampling and pixels' own taps keep the blocks' edges sharp.
    assert (decoded - blocks)[inner].abs().max() < 0.3


def test_sizes_that_a_vae_cannot_have_are_refused():
    with pytest.raises(ValueError, match="expected rising multiples"):
        VaeSpec((32, 32, 64, 64))


def test_shrinking_takes_the_means_of_squares():
    pictures = torch.arange(16, dtype=torch.uint8).reshape(1, 4, 4, 1).expand(1, 4, 4, 3)
    assert shrunk(pictures, 2)[0, :, :, 0].tolist() == [[2, 4], [10, 12]]
    assert shrunk(pictures, 1) is pictures
