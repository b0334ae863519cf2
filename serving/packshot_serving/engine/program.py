"""What a runner with buffers of its own asks of whatever computes a graph: run on tensors where they lie."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True, slots=True)
class Bound:
    """A tensor in a device's memory."""

    address: int
    shape: tuple[int, ...]
    dtype: type[np.generic]

    @property
    def nbytes(self) -> int:
        """Of the tensor."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


#: Computes the outputs from the inputs, in the device's order; may return before that is done.
Run = Callable[[], None]


class Program(Protocol):
    """A graph, ready to compute on a device."""

    def bind(self, tensors: Mapping[str, Bound], *, repeated: bool) -> Run:
        """A run on tensors that stay where they are.

        Args:
            tensors: all inputs and outputs of the graph, by name.
            repeated: it will run often, and a GPU may record it. A recording is kept for as long as the
                program; one that is not repeated has to run before the next is bound.

        Raises:
            Exception: the graph cannot compute on these.
        """
        ...

    def longest(self, name: str, shape: tuple[int, ...]) -> int | None:
        """The greatest first axis of an input whose other axes are ``shape``; None if it has no end."""
        ...
