"""What a product does to the table it stands on: shadows and a mirror image."""

from __future__ import annotations

import cv2
import numpy as np

from packshot_pocket.renderer.gbuffer import SUPERSAMPLING, View

_SHIFT = 4


def contact_shadow(footprint: list[np.ndarray], view: View, size: int) -> np.ndarray:
    """Where the table sees little of the room because the product is in the way.

    Args:
        footprint: polygons in x and z.
        view: at the picture's resolution.

    Returns:
        float32 [size, size], 0 none to 1 full.
    """
    small = np.zeros((size, size), np.uint8)
    for polygon in footprint:
        ground = np.insert(np.asarray(polygon, np.float64), 1, 0.0, axis=1)
        points = np.round(view.project(ground) * (1 << _SHIFT)).astype(np.int32)
        cv2.fillPoly(small, [points], 255, cv2.LINE_AA, _SHIFT)
    touch = small.astype(np.float32) / 255
    unit = view.scale
    tight = cv2.GaussianBlur(touch, (0, 0), max(0.8, 0.03 * unit))
    small_touch = cv2.resize(touch, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    near, wide = (cv2.GaussianBlur(small_touch, (0, 0), max(0.5, s * unit)) for s in (0.022, 0.05))
    soft = cv2.resize(0.6 * near + 0.4 * wide, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.clip(0.6 * tight + soft, 0, 1)


def cast_shadow(alpha: np.ndarray, view: View, direction: np.ndarray, softness: float) -> np.ndarray:
    """The key light's shadow on the table.

    The product is taken as a flat screen that faces the viewer.

    Args:
        alpha: float32 [H, W], 0 to 1.
        view: at the picture's resolution.
        direction: towards the light.
        softness: how fast the shadow blurs with the height of what casts it.

    Returns:
        float32 [H, W], 0 to 1.
    """
    height, width = alpha.shape
    sideways, away = -direction[0] / direction[1], -direction[2] / direction[1]
    # A pixel at row r shows the height Y = (y0 − r) / (scale cos); its shadow lies at z = away · Y.
    lift = 1 / view.cos
    flat = away * lift * view.sin
    matrix = np.array([[1, -sideways * lift, sideways * lift * view.y], [0, -flat, view.y * (1 + flat)]])
    half = np.array([[0.5], [0.5]])
    small = cv2.warpAffine(alpha, matrix * half, (width // 2, height // 2), flags=cv2.INTER_LINEAR)
    unit = view.scale / 2
    sharp = cv2.GaussianBlur(small, (0, 0), max(0.7, 0.05 * softness * unit))
    soft = cv2.GaussianBlur(small, (0, 0), max(1.2, 0.16 * softness * unit))
    distance = np.abs(
        (np.arange(height // 2, dtype=np.float32)[:, None] - view.y / 2) / (unit * max(abs(flat), 0.05))
    )
    far = np.clip(distance / 0.7, 0, 1)
    shadow = cv2.resize(sharp + (soft - sharp) * far, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.clip(shadow, 0, 1)


def mirror_image(layer: np.ndarray, view: View, blur: float) -> np.ndarray:
    """The product upside down, as a polished table shows it.

    Args:
        layer: float32 [H, W, 4], the product, premultiplied.
        blur: spread of the blur in pixels.

    Returns:
        float32 [H, W, 4], premultiplied, fading with depth.
    """
    height, width = layer.shape[:2]
    covered = layer[..., 3] > 0.5
    lowest = np.where(covered.any(axis=0), height - 1 - np.argmax(covered[::-1], axis=0), -1e4).astype(
        np.float32
    )
    base = np.where(lowest > 0, np.maximum(lowest, view.y), view.y)
    rows = np.arange(height, dtype=np.float32)[:, None]
    source_y = 2 * base[None] + 1 - rows
    source_x = np.broadcast_to(np.arange(width, dtype=np.float32)[None], source_y.shape)
    below = rows > base[None]
    flipped = cv2.remap(
        layer, source_x, source_y.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT
    )
    flipped *= (below * np.exp(-np.maximum(rows - base[None], 0) / (0.55 * view.scale)))[..., None]
    if blur <= 0.5:
        return flipped
    if blur < 4:
        return cv2.GaussianBlur(flipped, (0, 0), blur)
    coarse = cv2.resize(flipped, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return cv2.resize(cv2.GaussianBlur(coarse, (0, 0), blur / 2), (width, height))


def shrink(layer: np.ndarray) -> np.ndarray:
    """From a buffer's resolution to the picture's."""
    height, width = layer.shape[0] // SUPERSAMPLING, layer.shape[1] // SUPERSAMPLING
    return cv2.resize(layer, (width, height), interpolation=cv2.INTER_AREA)
