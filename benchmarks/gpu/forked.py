"""The fused step with its ControlNets beside the UNet's encoder, which does not need their answer."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from packshot_export.denoiser_graphs import Step


class ForkedStep(nn.Module):
    """A step whose ControlNets run on a stream of their own until the UNet has passed its middle block.

    Args:
        step: is copied.
        device: ``cpu``, where there is one stream only, or ``cuda``.
    """

    def __init__(self, step: Step, device: str) -> None:
        super().__init__()
        self._step, self._device = copy.deepcopy(step), torch.get_device_module(device)
        self._side = self._device.Stream()
        self._kept: tuple[Tensor, ...] = ()
        self._residuals = self._step.residuals
        self._step.residuals = self._fork
        # Behind it the residuals are added.
        self._step.unet.mid_block.register_forward_hook(lambda *_: self._join())

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        """As the step's."""
        return self._step(**inputs)

    def _fork(self, *inputs: Tensor) -> list[Tensor]:
        # Kept until the streams meet: their memory is the main stream's, which would give it away meanwhile.
        self._kept = inputs
        self._side.wait_stream(self._device.current_stream())
        with self._device.stream(self._side):
            return self._residuals(*inputs)

    def _join(self) -> None:
        self._device.current_stream().wait_stream(self._side)
        self._kept = ()
