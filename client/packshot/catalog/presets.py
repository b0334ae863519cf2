"""Rules of marketplaces, measured on the finished file.

What the markets ask for is theirs to change; each preset names the page that it was taken from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from PIL import Image

from packshot.arrays import check_uint8
from packshot.cutout import bounding_box

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule and what was found.

    Attributes:
        rule: its name.
        passed: whether the file keeps it.
        measured: what was found.
        limit: what is asked for, in words.
    """

    rule: str
    passed: bool
    measured: Any
    limit: str


@dataclass(frozen=True, slots=True)
class Preset:
    """A market's rules, and a style that keeps them. Around the product they want pure white.

    Attributes:
        source: the page that states the rules.
        style: fields of a style as its file writes them; a style of this preset begins with these.
        formats: Pillow's names of the file formats that the market takes.
        min_longest_side_px: of the picture. ``max_longest_side_px`` and ``min_shortest_side_px`` likewise.
        max_bytes: of the file.
        min_fill: share of the picture that the product's bounding box fills, the way it fills more
            of it; ``max_fill`` likewise.
    """

    source: str
    style: Mapping[str, Any]
    formats: tuple[str, ...]
    min_longest_side_px: int
    max_longest_side_px: int
    min_shortest_side_px: int
    max_bytes: int
    min_fill: float = 0.0
    max_fill: float = 1.0

    def check(self, path: Path, alpha: np.ndarray) -> tuple[Rule, ...]:
        """Measure a finished file.

        Args:
            path: of the picture, as it is delivered.
            alpha: uint8 [H, W], how much of each pixel is product.
        """
        with Image.open(path) as opened:
            kind = opened.format or ""
            image = np.asarray(opened.convert("RGB"))
        height, width = image.shape[:2]
        check_uint8("alpha", alpha, height, width)
        longest, shortest, size = max(width, height), min(width, height), path.stat().st_size
        least, most = self.min_longest_side_px, self.max_longest_side_px
        fill = _fill(image, alpha)
        grey = int((image[alpha == 0] < 255).any(axis=1).sum())
        return (
            Rule("format", kind in self.formats, kind, f"one of {', '.join(self.formats)}"),
            Rule("longest_side_px", least <= longest <= most, longest, f"{least} to {most}"),
            Rule("shortest_side_px", shortest >= self.min_shortest_side_px, shortest,
                 f"at least {self.min_shortest_side_px}"),
            Rule("bytes", size <= self.max_bytes, size, f"at most {self.max_bytes}"),
            Rule("off_white_pixels", grey == 0, grey, "0 around the product"),
            Rule("fill", self.min_fill <= fill <= self.max_fill, round(fill, 4),
                 f"{self.min_fill:g} to {self.max_fill:g}"),
        )  # fmt: skip


def _fill(image: np.ndarray, alpha: np.ndarray) -> float:
    """Share of the picture that the product fills, the way it fills more of it; a white one as well."""
    x0, y0, x1, y1 = bounding_box((alpha > 0) | (image < 255).any(axis=2))
    height, width = alpha.shape
    return max((x1 - x0) / width, (y1 - y0) / height)


def _white(fill: float, side_px: int) -> Mapping[str, Any]:
    return MappingProxyType(
        {
            "background_color": "#ffffff",
            "fill": fill,
            "output_size": (side_px, side_px),
            "output_format": "png",
        }
    )


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "amazon-main": Preset(
            source="Amazon Seller Central, Product image guide",
            # 1600 pixels and more turn the zoom on; 85 % is asked for, and rounding must not undercut it.
            style=_white(0.88, 1600),
            formats=("JPEG", "PNG", "TIFF", "GIF"),
            min_longest_side_px=1600,
            max_longest_side_px=10_000,
            min_shortest_side_px=500,
            max_bytes=10 * _MIB,
            min_fill=0.85,
        ),
        "google-merchant": Preset(
            source="Google Merchant Center Help, Image link [image_link]",
            # 75 % to 90 % of the picture is what it recommends for the product.
            style=_white(0.82, 1500),
            formats=("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"),
            min_longest_side_px=500,
            max_longest_side_px=8000,
            min_shortest_side_px=500,
            max_bytes=16 * _MIB,
            min_fill=0.75,
            max_fill=0.9,
        ),
    }
)
