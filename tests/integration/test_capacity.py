"""How many slots there are: measured at start, or as the operator says."""

from __future__ import annotations

import shutil
import urllib.request
from pathlib import Path

import pytest

from packshot.errors import ServerStartError
from packshot_serving.launcher import TritonServer
from tests.families import exported


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A copy of a tiny family, its denoiser's capacity as it is by default."""
    copy = shutil.copytree(exported("tiny-sd2")[1], tmp_path / "repository")
    set_capacity(copy, "auto")
    return copy


def set_capacity(repository: Path, value: str) -> None:
    config = repository / "denoiser" / "config.pbtxt"
    before = config.read_text()
    after = before.replace('"4"', f'"{value}"').replace('"auto"', f'"{value}"')
    assert after.count(f'"{value}"') == 2
    config.write_text(after)


def gauges(server: TritonServer) -> dict[str, float]:
    with urllib.request.urlopen(f"http://{server.metrics_address}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if line.startswith("packshot_denoiser_m"))
    return {name.removeprefix("packshot_denoiser_"): float(value) for name, value in pairs}


def test_it_is_measured_logged_and_shown(repository):
    with TritonServer(repository, drain=False) as server:
        shown, log = gauges(server), server.log.read_text()
    assert 0 < shown['measured_step_seconds{slots="1"}'] < 10
    assert 1 <= shown["max_batch"] <= 64
    fewest = 6 * shown["max_batch"]
    assert shown["max_slots"] in {
        max(shown["max_batch"] + 1, min(64, max(least, fewest))) for least in (4, 16)
    }
    assert "a step of 1 slots takes" in log
    assert f"{shown['max_batch']:.0f} slots step together" in log


def test_the_config_overrides_it(repository):
    set_capacity(repository, "3")
    with TritonServer(repository, drain=False) as server:
        shown = gauges(server)
    assert (shown["max_slots"], shown["max_batch"]) == (3, 3)


def test_nonsense_in_the_config_is_a_failed_start_with_the_reason(repository):
    set_capacity(repository, "many")
    with pytest.raises(ServerStartError, match="max_slots: got 'many', expected 'auto' or a number from 1"):
        TritonServer(repository).start()
