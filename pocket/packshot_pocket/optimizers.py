"""Which optimizer learns which parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn


class Muon(torch.optim.Muon):
    """torch's, which knows matrices only, for filters, too: each output of a layer has a row.

    Steps are scaled to the size of AdamW's (Liu et al., Muon is Scalable for LLM Training, 2025).

    Args:
        params: matrices, or filters of four dimensions in either of torch's layouts; they stay in place.
    """

    def __init__(self, params: Iterable[Tensor], weight_decay: float) -> None:
        self._shaped = list(params)
        rows = [_in_order(p.detach(), p).view(len(p), -1) for p in self._shaped]
        super().__init__(rows, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")

    def step(self, closure: None = None) -> None:
        """See :class:`torch.optim.Muon`."""
        (group,) = self.param_groups
        for rows, parameter in zip(group["params"], self._shaped, strict=True):
            grad = parameter.grad
            rows.grad = None if grad is None else _in_order(grad, parameter).reshape(rows.shape)
        super().step(closure)


def _in_order(tensor: Tensor, parameter: Tensor) -> Tensor:
    """A tensor of the parameter's shape, its dimensions in the order that the parameter has in memory."""
    return tensor if parameter.is_contiguous() else tensor.permute(0, 2, 3, 1)


class Optimizers:
    """Muon for the weights of layers, AdamW for all else.

    Args:
        model: on its device; what it does not train is left out.
        weight_decay: of all but biases and the like, for each step at a rate of 1.
        orthogonal: whose weights are Muon's.
    """

    def __init__(
        self,
        model: nn.Module,
        weight_decay: float,
        orthogonal: tuple[type[nn.Module], ...] = (nn.Linear, nn.Conv2d),
    ) -> None:
        trained = [p for p in model.parameters() if p.requires_grad]
        layers = (module for module in model.modules() if isinstance(module, orthogonal))
        shaped = {id(layer.weight) for layer in layers}
        others = [p for p in trained if id(p) not in shaped]
        groups = [
            {"params": [p for p in others if p.ndim > 1], "weight_decay": weight_decay},
            {"params": [p for p in others if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.muon = Muon((p for p in trained if id(p) in shaped), weight_decay)
        self.adamw = torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=trained[0].is_cuda)

    def step(self, rate: float) -> None:
        """A step of both at this learning rate."""
        for optimizer in (self.muon, self.adamw):
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on."""
        return {"muon": self.muon.state_dict(), "adamw": self.adamw.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        self.muon.load_state_dict(state["muon"])
        self.adamw.load_state_dict(state["adamw"])
