"""The real product back over the generated picture."""

from __future__ import annotations

import numpy as np

from packshot.arrays import check_uint8
from packshot.canvas import Composition


def paste_back(composition: Composition, generated: np.ndarray) -> np.ndarray:
    """Put the products' own pixels over a generated picture.

    Where alpha is 255 the result is the product, bit for bit; where it is 0 the generated picture;
    at the rim a mix of the product's own colour and the generated one. The rim lies inside the
    product's mask and its colours are unmixed, so neither the grey canvas nor the photo's background
    can show as a halo.

    Args:
        composition: what was generated from.
        generated: uint8 [H, W, 3], as large as the composition.

    Returns:
        uint8 [H, W, 3].

    Raises:
        InvalidArgument: the picture has another size or dtype.
    """
    check_uint8("generated_image", generated, *composition.image.shape)
    alpha = composition.alpha[..., None].astype(np.uint32)
    # Round to nearest, in integers: exact at alpha 0 and 255.
    mixed = composition.foreground * alpha + generated * (255 - alpha) + 127
    return (mixed // 255).astype(np.uint8)
