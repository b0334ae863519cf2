"""``packshot export``: its options, its progress, its errors."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from packshot.errors import InvalidArgument
from packshot.family import Manifest
from packshot_export import export
from packshot_export.cli import export as command
from packshot_export.export import Exported, Planned
from packshot_export.headroom import Headroom
from packshot_export.parity import Difference
from packshot_export.plans import PlanSettings


@pytest.fixture
def run():
    app = typer.Typer()
    app.command()(command)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_options_reach_the_export_and_progress_goes_to_stderr(run, monkeypatch, tmp_path, family):
    asked = {}

    def fake(diffusion, controlnets, sam, repository, precision, progress, name, tensorrt):
        asked.update(diffusion=diffusion, controlnets=controlnets, sam=sam, precision=precision, name=name)
        asked.update(tensorrt=tensorrt)
        progress("step")
        progress(Exported("step", 1.25, (Difference("next_state", 2e-6, 1e-4),), Headroom("add", 1234.5)))
        progress(Planned("denoiser/1/step.sm89.rtx.plan", 61.5, 3 * 2**20))
        return Manifest.read(family[1])

    monkeypatch.setattr(export, "export_repository", fake)
    result = run(
        "--diffusion", "a/b", "--controlnet", "c/d@v1", "--controlnet", "dir", "--sam", "e/f",
        "--precision", "fp16", "--repository", tmp_path, "--name", "mine",
        "--tensorrt", "--gpu", "sm_89", "--gpu", "sm_120", "--version-compatible", "--timing-cache", "t",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert asked == {
        "diffusion": "a/b", "controlnets": ["c/d@v1", "dir"], "sam": "e/f", "precision": "fp16", "name": "mine",
        "tensorrt": PlanSettings(("sm_89", "sm_120"), True, Path("t")),
    }  # fmt: skip
    assert "step: 1.2 s, off by next_state 2.0e-06 (≤ 1e-04), numbers to 1.23e+03 in fp16" in result.stderr
    assert "denoiser/1/step.sm89.rtx.plan: 61.5 s, 3.0 MiB" in result.stderr
    assert result.stdout == ""


def test_errors_are_left_to_the_command_line_that_prints_them(run, tmp_path):
    result = run(
        "--diffusion",
        "missing",
        "--controlnet",
        "missing",
        "--sam",
        "missing",
        "--repository",
        tmp_path / "r",
    )
    assert isinstance(result.exception, InvalidArgument)
    assert not (tmp_path / "r").exists()


def test_settings_of_plans_go_with_tensorrt(run, tmp_path):
    needed = ("--diffusion", "a/b", "--controlnet", "c/d", "--sam", "e/f", "--repository", tmp_path)
    result = run(*needed, "--gpu", "sm_89")
    assert result.exit_code == 2
    assert "go with" in result.stderr
    assert "--tensorrt" in result.stderr


def test_other_precisions_are_refused(run, tmp_path):
    result = run(
        "--diffusion",
        "a/b",
        "--controlnet",
        "c/d",
        "--sam",
        "e/f",
        "--precision",
        "int8",
        "--repository",
        tmp_path,
    )
    assert result.exit_code == 2
    assert "int8" in result.stderr
