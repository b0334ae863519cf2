"""Processes that train together."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from packshot_pocket.team import Team, work_together
from tests.waiting import until


def learn_and_tell(team: Team, folder: Path) -> None:
    model = nn.Linear(2, 1)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, float(team.rank))
    team.average_gradients(model)
    torch.save((model.weight.grad, model.bias.grad, team.agreed(10.0 + team.rank)), folder / str(team.rank))


def fail_at_the_second(team: Team) -> None:
    if team.rank == 1:
        raise ValueError("the second")
    team.agreed(0.0)


def test_all_have_the_mean_of_their_gradients_and_go_by_the_first_one_s_clock(tmp_path):
    work_together(3, learn_and_tell, tmp_path)
    for rank in range(3):
        weight, bias, agreed = torch.load(tmp_path / str(rank))
        assert weight.tolist() == [[1.0, 1.0]]
        assert bias.tolist() == [1.0]
        assert agreed == 10.0


def test_one_works_alone_where_it_is(tmp_path):
    work_together(1, learn_and_tell, tmp_path)
    weight, _, agreed = torch.load(tmp_path / "0")
    assert (weight.tolist(), agreed) == ([[0.0, 0.0]], 10.0)


def wait_for_ever(team: Team, folder: Path) -> None:
    (folder / str(team.rank)).write_text(str(os.getpid()))
    time.sleep(600)


def test_when_what_started_them_is_killed_none_goes_on(tmp_path):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as for a shell's background job
    try:
        starter = multiprocessing.get_context("spawn").Process(
            target=work_together, args=(2, wait_for_ever, tmp_path)
        )
        starter.start()
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    files = [tmp_path / "0", tmp_path / "1"]
    until(lambda: all(file.is_file() and file.read_text() for file in files), timeout_s=60)
    starter.kill()
    processes = [Path("/proc", file.read_text()) for file in files]
    until(lambda: not any(process.exists() for process in processes), timeout_s=60)


def test_a_failure_of_one_ends_all_and_says_why(capfd):
    with pytest.raises(torch.multiprocessing.ProcessRaisedException):
        work_together(2, fail_at_the_second)
    assert "ValueError: the second" in capfd.readouterr().err
