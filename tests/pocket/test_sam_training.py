"""SAM's training: it goes on where it stopped, from where another began, and in several processes."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import ClassVar

import pytest
import torch
from transformers import SamModel

from packshot_pocket.sam.train import main
from packshot_pocket.sam.trainer import STATE_FILE, SamTrainer, SamTraining, _Share, train_sam
from packshot_pocket.team import Team
from packshot_pocket.training import Budget, load_state
from tests.pocket.tiny_sam import TINY


def test_a_training_goes_on_where_it_stopped_and_its_checkpoint_is_a_sam(tmp_path, monkeypatch):
    monkeypatch.setattr("packshot_pocket.sam.samples._SHARES", (0, 0, 0, 1))
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    settings = {"batch_size": 2, "spec": TINY}
    # Saved after each step, which must not change the next one.
    train_sam(SamTraining(output=whole, budget=Budget(steps=2), save_every_s=0, **settings))
    # The learning rate follows the budget, so both have the same one.
    for stop in (1, 2):
        monkeypatch.setattr(
            Budget, "fraction", lambda self, step, seconds, stop=stop: float(step >= stop) or step / 2
        )
        train_sam(SamTraining(output=halves, budget=Budget(steps=2), **settings), resume=True)
    first, second = SamModel.from_pretrained(whole), SamModel.from_pretrained(halves)
    for (name, a), b in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, msg=name)


def test_processes_that_share_a_step_see_each_of_its_pictures_once():
    shares = [list(islice(_Share(6, Team(rank, 3)), 4)) for rank in range(3)]
    assert shares == [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]]


def test_two_processes_train_one_network(tmp_path):
    settings = {"batch_size": 2, "processes": 2, "spec": TINY}
    train_sam(SamTraining(output=tmp_path, budget=Budget(steps=1), **settings))
    train_sam(SamTraining(output=tmp_path, budget=Budget(steps=2), **settings), resume=True)
    assert load_state(tmp_path / STATE_FILE)["step"] == 2
    assert SamModel.from_pretrained(tmp_path).config.vision_config.image_size == 64


class Watching(Team):
    averaged: ClassVar[list[bool]] = []

    def average_gradients(self, model):
        self.averaged.append(any(p.grad is not None for p in model.parameters()))


def test_each_step_goes_by_the_mean_of_all_processes_gradients(tmp_path):
    training = SamTraining(output=tmp_path, budget=Budget(steps=2), batch_size=2, spec=TINY)
    SamTrainer(training, resume=False, team=Watching()).run()
    assert Watching.averaged == [True, True]


def test_a_step_that_cannot_be_shared_equally_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--output", str(tmp_path), "--steps", "1", "--processes", "3"])
    assert "processes: got 3, expected a divisor of a step's 16 pictures" in capsys.readouterr().err


def test_a_start_takes_along_what_was_learned_of_grouping_where_it_is_there(tmp_path, monkeypatch):
    monkeypatch.setattr("packshot_pocket.sam.samples._SHARES", (0, 0, 0, 1))
    settings = {"batch_size": 2, "budget": Budget(steps=1)}
    small = SamTraining(output=tmp_path / "small", spec=TINY, **settings)
    train_sam(small)
    learned = load_state(small.output / STATE_FILE)["model"]["grouping.features.weight"]
    larger = SamTraining(
        output=tmp_path / "larger", spec=replace(TINY, image_size=128), start=(small.output,), **settings
    )
    assert torch.equal(SamTrainer(larger, resume=False).model.grouping.features.weight, learned)
    (small.output / STATE_FILE).unlink()
    assert not torch.equal(SamTrainer(larger, resume=False).model.grouping.features.weight, learned)


def test_a_training_that_had_a_start_goes_on_with_the_positions_of_that(tmp_path, monkeypatch):
    monkeypatch.setattr("packshot_pocket.sam.samples._SHARES", (0, 0, 0, 1))
    settings = {"batch_size": 2, "budget": Budget(steps=1), "spec": TINY}
    start = SamTraining(output=tmp_path / "start", seed=1, **settings)
    train_sam(start)
    begun = SamTraining(output=tmp_path / "begun", start=(start.output,), **settings)
    train_sam(begun)
    model = SamTrainer(begun, resume=True).model
    positions = SamModel.from_pretrained(start.output).shared_image_embedding.positional_embedding
    assert torch.equal(model.decoder.frequencies, positions)


def test_a_start_that_is_no_checkpoint_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--output", str(tmp_path / "new"), "--steps", "1", "--start", str(tmp_path)])
    assert f"--start: got {tmp_path}, expected the directory of a checkpoint" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_the_command_wants_to_know_how_long(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--output", str(tmp_path)])
    assert "--minutes" in capsys.readouterr().err
