"""The loop of the trainings: a stopped training goes on as if nothing had happened."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from packshot_pocket.train.loop import Loop, Run
from packshot_pocket.train.plan import PLANS, Stage
from packshot_pocket.training import Budget, seed_everything

STAGE = Stage(batch_size=2, peak_rate=1e-2, warmup_steps=2, ema_decay=0.9, scenes=128)


class Stopped(Exception):
    """The power went."""


class Fit:
    """A task that fits a line to noise."""

    name = "fit"

    def __init__(self, stop_at: int | None = None) -> None:
        seed_everything(0)
        self.trained = nn.Linear(3, 1)
        self.called = (self.trained,)
        self.stop_at, self.calls, self.published = stop_at, 0, None

    def loss(self, generator, fraction):
        if self.calls == self.stop_at:
            raise Stopped
        self.calls += 1
        inputs = torch.randn(2, 3, generator=generator)
        loss = (self.trained(inputs) - inputs.sum()).square().mean()
        return loss, {"inputs": inputs.mean()}

    def publish(self, averaged):
        self.published = [parameter.clone() for parameter in averaged.parameters()]

    def sheet(self, averaged):
        return np.zeros((4, 4, 3), np.uint8)


def run(folder, resume=False):
    folder.mkdir(exist_ok=True)
    return Run(folder, Budget(steps=8), STAGE, torch.device("cpu"), 3, resume, False, 0.0, 1e9)


def test_a_training_that_was_stopped_ends_with_the_numbers_of_one_that_was_not(tmp_path):
    whole = Fit()
    Loop(whole, run(tmp_path / "whole")).train()
    folder = tmp_path / "stopped"
    with pytest.raises(Stopped):
        Loop(Fit(stop_at=5), run(folder)).train()
    rest = Fit()
    Loop(rest, run(folder, resume=True)).train()
    assert rest.calls == 3
    for one, other in zip(whole.published, rest.published, strict=True):
        assert torch.equal(one, other)


def test_a_training_does_not_go_on_where_what_it_stands_on_has_gone_on_without_it(tmp_path):
    Loop(Fit(), replace(run(tmp_path), foundation={"vae": 5})).train()
    Loop(Fit(), replace(run(tmp_path, resume=True), foundation={"vae": 5}))
    with pytest.raises(ValueError, match=r"got \{'vae': 9\} steps of what .* expected \{'vae': 5\}"):
        Loop(Fit(), replace(run(tmp_path, resume=True), foundation={"vae": 9}))


def test_without_resume_a_training_begins_anew(tmp_path):
    for _ in range(2):
        task = Fit()
        Loop(task, run(tmp_path)).train()
        assert task.calls == 8


def test_a_finished_training_leaves_a_sheet_and_a_state(tmp_path):
    Loop(Fit(), run(tmp_path)).train()
    assert (tmp_path / "fit-000008.png").is_file()
    assert (tmp_path / "state.pt").is_file()


def test_what_is_published_is_the_average(tmp_path):
    task = Fit()
    Loop(task, run(tmp_path)).train()
    assert not torch.equal(task.published[0], task.trained.weight)
    assert (task.published[0] - task.trained.weight).abs().max() < 0.1


def test_both_devices_have_plans_of_whole_shards():
    assert set(PLANS) == {"cpu", "cuda"}
    for plan in PLANS.values():
        for count in (plan.vae.scenes, plan.diffusion.scenes, plan.controlnet.scenes, plan.snapshots):
            assert count % 128 == 0
