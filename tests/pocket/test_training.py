"""What all trainings share."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from packshot_pocket.training import Budget, Ema, Progress, learning_rate, load_state, save_state


@pytest.mark.parametrize(("steps", "minutes"), [(None, None), (10, 1.0), (0, None), (None, -1.0)])
def test_a_budget_is_steps_or_minutes(steps, minutes):
    with pytest.raises(ValueError, match="expected one of them above 0"):
        Budget(steps, minutes)


def test_a_budget_is_used_up_by_what_it_counts():
    assert Budget(steps=10).fraction(5, 1e9) == 0.5
    assert Budget(minutes=2).fraction(10**9, 30) == 0.25
    assert Budget(minutes=2).fraction(0, 1e9) == 1


def test_the_learning_rate_rises_and_then_falls():
    assert learning_rate(1.0, 0.0, 0, 10) == pytest.approx(0.1)
    assert learning_rate(1.0, 0.0, 9, 10) == pytest.approx(1.0)
    assert learning_rate(1.0, 1.0, 100, 10) == pytest.approx(0.02)


def test_the_average_follows_the_weights_and_goes_on_after_a_stop():
    model = nn.Linear(2, 2, bias=False)
    nn.init.zeros_(model.weight)
    ema = Ema(model, decay=0.9)
    nn.init.ones_(model.weight)
    for step in range(5):
        ema.update(step)
    resumed = Ema(model)
    resumed.load_state_dict(ema.state_dict())
    averaged = nn.Linear(2, 2, bias=False)
    resumed.copy_to(averaged)
    assert 0.9 < averaged.weight.min() <= averaged.weight.max() < 1


def test_a_state_survives_and_replaces_the_one_before(tmp_path):
    path = tmp_path / "somewhere" / "state.pt"
    assert load_state(path) is None
    for step in (1, 2):
        save_state(path, {"step": step, "weights": {"w": torch.ones(3)}})
    state = load_state(path)
    assert state is not None
    assert state["step"] == 2
    assert [file.name for file in path.parent.iterdir()] == ["state.pt"]


def test_progress_says_means_speed_and_what_is_left(capsys):
    progress = Progress("vae", Budget(steps=10), every_s=0.0)
    progress.tell(5, 16, loss=0.25)
    line = capsys.readouterr().err
    assert "vae  step 5" in line
    assert "50.0%  loss 0.2500" in line
    assert "pictures/s" in line
    assert "ETA" in line
