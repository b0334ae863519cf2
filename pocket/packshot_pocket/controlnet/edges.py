"""Control images for training: edges of the product, and of the scene only here and there."""

from __future__ import annotations

import torch
from torch import Tensor

#: Shares of the examples whose control image has all edges of the scene, and only the product's.
#: The others have the scene's inside a rectangle.
_WHOLE, _PRODUCT = 0.5, 0.3


def choose_edges(product: Tensor, scene: Tensor, generator: torch.Generator) -> Tensor:
    """Drop some of the scenes' edges.

    In use the control image has the product's edges and what a caller draws. So where there is no
    edge a model must mostly paint none, but an empty table must not forbid a horizon.

    Args:
        product: float32 [B, 1, H, W], 0 or 1; ``scene`` likewise.
    """
    count, _, height, width = product.shape
    throw = torch.rand((5, count, 1, 1, 1), generator=generator, device=product.device)
    rows = torch.arange(height, device=product.device)[None, None, :, None] / height
    columns = torch.arange(width, device=product.device)[None, None, None, :] / width
    near = ((rows - throw[1]).abs() < 0.1 + 0.4 * throw[3]) & (
        (columns - throw[2]).abs() < 0.1 + 0.5 * throw[4]
    )
    shown = (throw[0] < _WHOLE) | (near & (throw[0] >= _WHOLE + _PRODUCT))
    return torch.maximum(product, scene * shown)
