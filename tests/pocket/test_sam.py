"""The pocket SAM: what it sees, what it is asked, and what an answer costs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from packshot.contract import LABEL_BACKGROUND, LABEL_FOREGROUND
from packshot_export.sam_graphs import SamDecoder, SamEncoder
from packshot_pocket.sam.augment import random_view, worn
from packshot_pocket.sam.clicks import click, near_miss, rough_box
from packshot_pocket.sam.grouping import UNKNOWN, Grouping
from packshot_pocket.sam.losses import iou, pairwise_cost, sam_loss
from packshot_pocket.sam.model import (
    IMAGE_MEAN,
    IMAGE_STD,
    SamSpec,
    grown_sam,
    make_sam,
    pixel_values,
    save_sam,
)
from packshot_pocket.sam.shapes import shapes
from packshot_pocket.sam.step import TrainedDecoder, corrections
from packshot_pocket.training import autocast
from tests.pocket.tiny_sam import TINY


@pytest.fixture
def disc() -> np.ndarray:
    y, x = np.mgrid[:64, :64]
    return (x - 30) ** 2 + (y - 20) ** 2 < 15**2


def test_the_network_is_small_enough_to_ship():
    assert 2e6 < sum(parameter.numel() for parameter in make_sam().parameters()) < 4e6


def test_a_fresh_network_sees_the_photo_and_the_prompt():
    torch.manual_seed(0)
    sam = make_sam(TINY)
    decoder = SamDecoder(sam)
    photos = torch.randn(2, 3, 64, 64)
    embeddings = sam.vision_encoder(photos)[0]
    assert (embeddings[0] - embeddings[1]).std() > 0.3
    labels = torch.tensor([[1, -1]] * 2)
    coords = torch.tensor([[[8.0, 8.0], [0.0, 0.0]], [[50.0, 50.0], [0.0, 0.0]]])
    masks = decoder(embeddings[:1].expand(2, -1, -1, -1), coords, labels)["low_res_masks"]
    assert (masks[0] - masks[1]).std() > 0.3 * masks.std()


def test_a_fresh_network_looks_where_the_click_is():
    torch.manual_seed(0)
    spec = SamSpec()
    sam = make_sam(spec)
    decoder = SamDecoder(sam)
    looking = sam.mask_decoder.transformer.layers[0].cross_attn_token_to_image
    steps = torch.linspace(0.2, 0.8, 5) * spec.image_size
    clicks = torch.cartesian_prod(steps, steps)
    tokens = decoder._embed(clicks[:, None], torch.full((len(clicks), 1), LABEL_FOREGROUND))[:, 0]
    keys = looking.k_proj(decoder.grid[0].flatten(1).T)
    seen = (looking.q_proj(tokens) @ keys.T).argmax(dim=1)
    places = torch.stack([seen % spec.embedding_size, seen // spec.embedding_size], dim=1) + 0.5
    off = (places * spec.patch_size - clicks).norm(dim=1)
    # Not everywhere: the projections are random.
    assert off.median() <= 2 * spec.patch_size


def test_what_was_learned_on_small_photos_is_a_start_for_larger_ones(tmp_path):
    torch.manual_seed(0)
    small = make_sam(TINY)
    # The columns of patches in their order, so that a stretched row is one in its order, too.
    small.vision_encoder.pos_embed.data[0, :, :, 0] = torch.arange(8.0)
    save_sam(small, tmp_path)
    grown = grown_sam([tmp_path], replace(TINY, image_size=128))
    assert grown.vision_encoder.pos_embed.shape == (1, 16, 16, 32)
    columns = grown.vision_encoder.pos_embed[0, 5, :, 0]
    assert columns[[0, -1]].tolist() == [0.0, 7.0]
    assert (columns.diff() >= 0).all()
    same = grown.state_dict()
    for name, tensor in small.state_dict().items():
        if tensor.shape == same[name].shape:
            assert torch.allclose(tensor, same[name], rtol=1e-3, atol=1e-7), name  # stored in fp16
    photo = torch.randn(1, 3, 128, 128)
    assert grown.vision_encoder(photo)[0].shape == (1, 32, 16, 16)


def test_several_starts_are_one_of_their_mean(tmp_path):
    starts = []
    for seed in range(3):
        torch.manual_seed(seed)
        starts.append(tmp_path / str(seed))
        save_sam(make_sam(TINY), starts[-1])
    states = [grown_sam([start], TINY).state_dict() for start in starts]
    for name, mean in grown_sam(starts, TINY).state_dict().items():
        torch.testing.assert_close(mean, sum(state[name] for state in states) / 3)


def test_training_sees_a_photo_as_the_served_graph_does():
    sam = make_sam(TINY)
    image = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    sizes = torch.tensor([[40, 64], [64, 64]])
    served = SamEncoder(sam, IMAGE_MEAN, IMAGE_STD)(image, sizes)["image_embeddings"]
    trained = sam.vision_encoder(pixel_values(image, sizes))[0]
    torch.testing.assert_close(served, trained)


def test_shapes_are_the_same_for_the_same_seed_and_parts_lie_on_their_wholes():
    first, again = shapes(3, 96), shapes(3, 96)
    assert np.array_equal(first.image, again.image)
    assert not np.array_equal(first.image, shapes(4, 96).image)
    for region in first.regions:
        for part in region.parts:
            assert not (part & ~region.mask).any()


def test_wear_keeps_outlines_where_they_are():
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, 32:] = 200
    kept = 0
    for seed in range(20):
        old = worn(np.random.default_rng(seed), image).astype(float).mean(axis=(0, 2))
        kept += abs(int(np.abs(np.diff(old)).argmax()) - 31) <= 1
    assert kept >= 18


def test_a_view_moves_picture_and_mask_alike(disc):
    picture = np.where(disc[..., None], np.uint8(250), np.uint8(5)).repeat(3, axis=2)
    for seed in range(10):
        view = random_view(np.random.default_rng(seed), 64, 48)
        seen, mask = view.image(picture)[..., 0] > 128, view.mask(disc) > 128
        assert (seen ^ mask).sum() <= 8
        assert not mask[view.height :].any()
        assert not mask[:, view.width :].any()


def test_clicks_fall_on_the_mask_and_misses_beside_it(disc):
    rng = np.random.default_rng(0)
    for _ in range(50):
        x, y = click(rng, disc)
        assert disc[int(y), int(x)]
        miss = near_miss(rng, disc)
        assert miss is not None
        assert not disc[int(miss[1]), int(miss[0])]
    assert near_miss(rng, np.ones((8, 8), bool)) is None


def test_boxes_are_near_the_mask(disc):
    rng = np.random.default_rng(0)
    for _ in range(50):
        x0, y0, x1, y1 = rough_box(rng, disc)
        assert 0 <= x0 < x1 <= 64
        assert 0 <= y0 < y1 <= 64
        assert np.abs(np.array([x0, y0, x1, y1]) - (16, 6, 45, 35)).max() < 6


@pytest.mark.parametrize("exact", [0, 1])
def test_boxes_are_exact_as_often_as_is_asked(disc, exact):
    rng = np.random.default_rng(0)
    tight = [rough_box(rng, disc, exact=exact) == (16, 6, 45, 35) for _ in range(20)]
    assert set(tight) == {bool(exact)}


def test_a_perfect_mask_costs_nothing_and_an_empty_one_much(disc):
    truth = torch.from_numpy(disc).float()[None, None]
    logits = torch.stack([truth[0, 0] * 40 - 20, torch.full((64, 64), -20.0)])[None]
    perfect, empty = pairwise_cost(logits, truth)[0, :, 0].tolist()
    assert perfect < 0.01
    assert empty > 0.9


def test_the_cost_of_a_pair_is_focal_plus_dice(disc):
    truth = torch.from_numpy(disc).float()[None, None]
    logits = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    p = torch.sigmoid(logits[0, 1])
    wrong = torch.where(truth[0, 0] > 0, 1 - p, p)
    focal = (wrong**2 * -torch.log(1 - wrong)).mean()
    dice = 1 - (2 * (p * truth).sum() + 1) / ((p**2).sum() + (truth**2).sum() + 1)
    assert pairwise_cost(logits, truth)[0, 1, 0].item() == pytest.approx((20 * focal + dice).item(), rel=1e-4)


@torch.no_grad()
def test_less_precise_arithmetic_moves_neither_costs_nor_answers(disc):
    torch.manual_seed(0)
    truth = torch.from_numpy(disc).float()[None, None]
    logits = torch.randn(1, 3, 64, 64)
    decoder = TrainedDecoder(make_sam(TINY))
    asked = torch.randn(1, 32, 8, 8), torch.tensor([[[61.3, 2.7], [0.0, 0.0]]]), torch.tensor([[1, -1]])
    exact = pairwise_cost(logits, truth), *decoder(*asked).values()
    with autocast(torch.device("cpu")):
        trained = pairwise_cost(logits, truth), *decoder(*asked).values()
    assert all(torch.equal(a, b) for a, b in zip(exact, trained, strict=True))


def test_only_the_best_mask_and_the_predictions_pay(disc):
    truth = torch.from_numpy(disc).float()[None, None]
    good, bad = truth[0, 0] * 40 - 20, 20 - truth[0, 0] * 40
    loss, ious = sam_loss(torch.stack([bad, good, bad])[None], torch.tensor([[0.0, 1.0, 0.0]]), truth)
    assert ious.tolist() == [[0.0, 1.0, 0.0]]
    lying, _ = sam_loss(torch.stack([bad, good, bad])[None], torch.tensor([[1.0, 0.0, 1.0]]), truth)
    assert lying - loss == pytest.approx(1.0)


def test_pixels_are_grouped_by_what_they_lie_on():
    """Features as far apart as their owners cost little, the same everywhere half a coin's toss; some are not told."""
    owner = torch.zeros(1, 8, 8, dtype=torch.uint8)
    owner[:, :, 4:], owner[:, 6:] = 7, UNKNOWN
    grouping = Grouping(channels=1, width=1)
    torch.nn.init.ones_(grouping.features.weight)
    torch.nn.init.zeros_(grouping.features.bias)
    columns = torch.tensor([0.0, 5.0]).expand(1, 1, 2, 2)
    torch.manual_seed(0)
    apart, alike = grouping(columns, owner), grouping(torch.zeros(1, 1, 2, 2), owner)
    assert apart < 0.02 < alike
    owner[:, 7] = 3
    assert grouping(columns, owner) > 10 * apart, "now some are told apart that look alike"


def test_iou():
    a = torch.tensor([[[[True, True, False, False]]]])
    b = torch.tensor([[[[False, True, True, False]]]])
    assert iou(a, b).item() == pytest.approx(1 / 3)


def test_a_correction_clicks_on_what_is_wrong(disc):
    truth = torch.from_numpy(disc)[None]
    logits = torch.full((1, 3, 64, 64), -1.0)
    logits[0, 1, :, 40:] = 1.0
    config = make_sam(TINY).config
    for _ in range(20):
        point, label = corrections(logits, torch.tensor([[0.0, 1.0, 0.0]]), truth.float(), config)
        x, y = (int(value) for value in point[0, 0])
        # SAM's square is as large as the mask here.
        assert label.item() == (LABEL_FOREGROUND if disc[y, x] else LABEL_BACKGROUND)
        assert bool(disc[y, x]) != (x >= 40)
