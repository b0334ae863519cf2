"""Studio light on what was drawn: a key softbox, a strip on the other side, and the room around."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from packshot_pocket.renderer.gbuffer import GBuffer
from packshot_pocket.renderer.noise import smoothstep
from packshot_pocket.renderer.palette import to_display


@dataclass(frozen=True, slots=True)
class Light:
    """How a product is lit. Colours are linear.

    Attributes:
        direction: unit vector towards the key light.
        key: colour and strength of it.
        softness: half the softbox's side over its distance.
        sky: what a surface facing up sees; ``wall`` what is around, ``floor`` what is below.
        strip: strength of the strip light on the other side; 0 for none.
    """

    direction: np.ndarray
    key: np.ndarray
    softness: float
    sky: np.ndarray
    wall: np.ndarray
    floor: np.ndarray
    strip: float


def shade(buffer: GBuffer, light: Light, behind: np.ndarray | None) -> np.ndarray:
    """The lit product.

    Args:
        behind: float32 [h, w, 3], linear: what is seen through transparent surfaces, at the buffer's
            resolution. None if nothing of it is transparent.

    Returns:
        float32 [h, w, 4]: sRGB 0 to 255 times coverage, then coverage, 0 or 1.
    """
    at = np.flatnonzero(buffer.covered)
    normal = buffer.normal.reshape(-1, 3)[at]
    normal /= np.sqrt(np.einsum("ij,ij->i", normal, normal))[:, None] + 1e-6
    albedo = buffer.albedo.reshape(-1, 3)[at]
    gloss, metal, transmission = np.ascontiguousarray(buffer.finish.reshape(-1, 3)[at].T)
    view = np.array([0, buffer.view.sin, buffer.view.cos], np.float32)
    facing = np.clip(normal @ view, 0.02, 1)
    reflected = 2 * facing[:, None] * normal - view
    up = normal[:, 1] * 0.5 + 0.5
    lit = np.clip((normal @ light.direction + 0.25) / 1.25, 0, 1)
    around = _blend(light, up)
    diffuse = albedo * (around + lit[:, None] * light.key)
    fresnel = 0.04 + 0.96 * (1 - facing) ** 5 * (0.2 + 0.8 * gloss)
    strength = gloss * fresnel + metal * (1 - fresnel) * (0.35 + 0.65 * gloss)
    seen = _environment(light, reflected, gloss)
    tint = 1 - metal[:, None] * (1 - albedo)
    colour = diffuse * ((1 - metal) * (1 - transmission))[:, None]
    colour += seen * tint * strength[:, None]
    if behind is not None and transmission.any():
        rows, columns = np.divmod(at, buffer.covered.shape[1])
        through = _refracted(behind, rows, columns, normal, buffer.view.scale)
        clear = 0.3 + 0.7 * smoothstep(0.05, 0.5, facing)  # the rim of glass is darker
        colour += through * albedo * (transmission * clear)[:, None]
    result = np.zeros((*buffer.covered.shape, 4), np.float32)
    flat = result.reshape(-1, 4)
    flat[at, :3] = to_display(colour)
    flat[at, 3] = 1
    return result


def _blend(light: Light, up: np.ndarray) -> np.ndarray:
    """The room in a direction: floor below (``up`` 0), wall ahead (0.5), sky above (1)."""
    from_sky, from_floor = np.clip(2 * up - 1, 0, 1), np.clip(1 - 2 * up, 0, 1)
    shares = np.stack([from_sky, 1 - from_sky - from_floor, from_floor], axis=1)
    return shares @ np.stack([light.sky, light.wall, light.floor]).astype(np.float32)


def _environment(light: Light, ray: np.ndarray, gloss: np.ndarray) -> np.ndarray:
    """What is seen along ``ray`` in a surface of that gloss: float32 [n, 3]."""
    blur = 0.9 - 0.8 * gloss
    room = _blend(light, np.clip(ray[:, 1] * (1.4 - 0.4 * blur) * 0.5 + 0.5, 0, 1))
    room = room * (0.55 + 0.45 * np.clip(ray[:, 2] + 0.6, 0, 1))[:, None]  # dark behind the camera's edges
    right = np.array([light.direction[2], 0, -light.direction[0]], np.float32)
    right /= np.linalg.norm(right) + 1e-6
    upward = np.cross(light.direction, right).astype(np.float32)
    ahead = np.maximum(ray @ light.direction, 1e-3)
    # In the softbox's own plane: how far outside its frame the ray meets it.
    outside = np.maximum(np.abs(ray @ right) / ahead, np.abs(ray @ upward) / ahead / 1.4) - light.softness
    edge = 0.04 + 0.8 * blur
    # A rough surface spreads the same light over a larger patch.
    power = 11.0 * light.softness**2 / (light.softness + 0.5 * blur) ** 2 + 0.5
    box = np.clip(0.5 - outside / (2 * edge), 0, 1) * (ray @ light.direction > 0)
    result = room + (power * box * box * (3 - 2 * box))[:, None] * light.key
    if light.strip > 0:
        side = -np.sign(light.direction[0]) or 1.0
        along = np.clip(1 - np.abs(ray[:, 0] * side - 0.8) / (0.1 + 0.3 * blur), 0, 1)
        result += (light.strip * 5.0 * along * along * smoothstep(-0.5, 0.0, ray[:, 1]))[:, None] * light.sky
    return result


def _refracted(
    behind: np.ndarray, rows: np.ndarray, columns: np.ndarray, normal: np.ndarray, scale: float
) -> np.ndarray:
    """The background, seen through a thick body: displaced towards the rim."""
    height, width = behind.shape[:2]
    bend = -0.13 * scale
    steep = normal[:, 0] * np.abs(normal[:, 0])
    x = np.clip(columns + bend * steep, 0, width - 1).astype(np.int32)
    y = np.clip(rows - bend * 0.5 * normal[:, 1], 0, height - 1).astype(np.int32)
    return behind[y, x]
