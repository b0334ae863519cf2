"""The step's module against the original forwards, for checkpoints of many shapes. No graph is traced."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from packshot_export.components import components
from packshot_export.families import SPECS
from tests.export.conftest import made, parts_of

SD2, SD15 = SPECS["tiny-sd2"], SPECS["tiny-sd15"]


def worst_difference(parts) -> float:
    """Greatest difference of the denoiser's modules from the originals."""
    worst = 0.0
    with torch.no_grad():
        for component in components(parts):
            if component.graph.name not in ("control_embedding", "step"):
                continue
            for case in component.cases():
                inputs = dict(case.inputs)
                if not len(inputs.get("control_row", "embedding")):
                    # torch runs no ControlNet on nothing, as graphs do: a row whose residuals nobody takes.
                    inputs["control_row"] = torch.zeros(1, dtype=torch.int64)
                outputs = component.module(**inputs)
                for name, original in case.outputs.items():
                    worst = max(worst, (outputs[name] - original).abs().max().item())
    return worst


@pytest.mark.parametrize(
    "spec",
    [
        replace(SD2, layers_per_block=2),
        replace(SD15, layers_per_block=2),
        replace(SD2, controlnet_in_channels=9),
    ],
    ids=["sd2, two layers", "sd15, two layers", "a ControlNet that sees all nine channels"],
)
def test_shapes(spec, tmp_path):
    assert worst_difference(parts_of(made(spec, tmp_path))) < 1e-4


def test_residuals_of_several_controlnets_are_scaled_each_and_summed(checkpoints, tmp_path):
    nine = made(replace(SD2, controlnet_in_channels=9, seed=5), tmp_path / "nine") / "controlnet"
    other = made(replace(SD2, seed=6), tmp_path / "other") / "controlnet"
    parts = parts_of(checkpoints, (checkpoints / "controlnet", nine, other))
    assert parts.family.dims["K"] == 3
    assert worst_difference(parts) < 1e-4
