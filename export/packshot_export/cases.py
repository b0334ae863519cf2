"""Parity cases: inputs of a graph, and what the original models answer to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison.

    Attributes:
        label: what is special about it, for messages.
        inputs: of the graph, by name.
        outputs: of the original models, by name.
    """

    label: str
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
