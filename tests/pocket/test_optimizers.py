"""Muon for layers and filters, AdamW for the rest: everything is learned, by one of them."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from packshot_pocket.optimizers import Optimizers


class Small(nn.Module):
    """One of each."""

    def __init__(self) -> None:
        super().__init__()
        self.filters = nn.Conv2d(3, 8, 3)
        self.mixing = nn.Conv2d(8, 4, 1)
        self.layer = nn.Linear(4, 5)
        self.table = nn.Embedding(7, 5)
        self.fixed = nn.Linear(2, 2).requires_grad_(False)

    def forward(self, pictures):
        means = self.mixing(self.filters(pictures)).mean(dim=(2, 3))
        return self.layer(means) + self.table.weight.mean(dim=0)


def learn(model, steps=3):
    optimizers = Optimizers(model, weight_decay=0.1)
    for number in range(steps):
        pictures = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(number))
        model.zero_grad(set_to_none=True)
        model(pictures).square().mean().backward()
        optimizers.step(1e-2)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Small()


def test_all_that_is_trained_moves_and_nothing_else_does(model):
    before = copy.deepcopy(model.state_dict())
    learn(model)
    moved = {name for name, now in model.state_dict().items() if not torch.equal(now, before[name])}
    assert moved == {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_filters_and_layers_take_muon_s_even_steps(model):
    optimizers = Optimizers(model, weight_decay=0.1)
    muon, adamw = optimizers.muon, optimizers.adamw
    shapes = [tuple(p.shape) for group in muon.param_groups for p in group["params"]]
    assert shapes == [(8, 27), (4, 8), (5, 4)]
    assert sum(len(group["params"]) for group in adamw.param_groups) == 4
    before = model.filters.weight.detach().clone()
    model.filters.weight.grad = torch.randn(8, 3, 3, 3) * torch.logspace(0, -2, 8)[:, None, None, None]
    for group in muon.param_groups:
        group["lr"] = 1.0
        group["weight_decay"] = 0.0
    muon.step()
    values = torch.linalg.svdvals((model.filters.weight.detach() - before).flatten(1))
    assert values.max() < 3 * values.min()


def test_filters_may_lie_in_memory_as_a_gpu_likes_them(model):
    other = copy.deepcopy(model).to(memory_format=torch.channels_last)
    assert not other.filters.weight.is_contiguous()
    learn(model)
    learn(other)
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
