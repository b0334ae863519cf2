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
    at = np.flatnonzero(buffer.part)
    # Components first: arithmetic on long rows is several times faster than on triples.
    samples = np.ascontiguousarray(buffer.samples.reshape(-1, 9)[at].T)
    normal, albedo, (gloss, metal, transmission) = samples[:3], samples[3:6], samples[6:]
    normal /= np.sqrt(np.einsum("ij,ij->j", normal, normal)) + 1e-6
    view = np.array([0, buffer.view.sin, buffer.view.cos], np.float32)
    facing = np.clip(view @ normal, 0.02, 1)
    reflected = 2 * facing * normal - view[:, None]
    lit = np.clip((light.direction @ normal + 0.25) / 1.25, 0, 1)
    diffuse = albedo * (_blend(light, normal[1] * 0.5 + 0.5) + _coloured(light.key, lit))
    away = 1 - facing
    fresnel = 0.04 + 0.96 * away * away * away * away * away * (0.2 + 0.8 * gloss)
    strength = gloss * fresnel + metal * (1 - fresnel) * (0.35 + 0.65 * gloss)
    colour = diffuse * ((1 - metal) * (1 - transmission))
    colour += _environment(light, reflected, gloss) * (1 - metal * (1 - albedo)) * strength
    if behind is not None:
        through = _refracted(behind, at, normal, buffer.view.scale)
        clear = 0.3 + 0.7 * smoothstep(0.05, 0.5, facing)  # the rim of glass is darker
        colour += through * albedo * (transmission * clear)
    result = np.zeros((*buffer.shape, 4), np.float32)
    block = np.ones((len(at), 4), np.float32)
    block[:, :3] = to_display(colour).T
    result.reshape(-1, 4)[at] = block
    return result


def _coloured(colour: np.ndarray, amount: np.ndarray) -> np.ndarray:
    """[3] and [n] → float32 [3, n]."""
    return np.asarray(colour, np.float32)[:, None] * amount


def _blend(light: Light, up: np.ndarray) -> np.ndarray:
    """The room in a direction: floor below (``up`` 0), wall ahead (0.5), sky above (1). [3, n]."""
    from_sky, from_floor = np.clip(2 * up - 1, 0, 1), np.clip(1 - 2 * up, 0, 1)
    shares = np.stack([from_sky, 1 - from_sky - from_floor, from_floor])
    return np.stack([light.sky, light.wall, light.floor]).astype(np.float32).T @ shares


def _environment(light: Light, ray: np.ndarray, gloss: np.ndarray) -> np.ndarray:
    """What is seen along rays [3, n] in surfaces of that gloss [n]: float32 [3, n]."""
    blur = 0.9 - 0.8 * gloss
    room = _blend(light, np.clip(ray[1] * (0.7 - 0.2 * blur) + 0.5, 0, 1))
    room *= 0.55 + 0.45 * np.clip(ray[2] + 0.6, 0, 1)  # it is dark behind the camera
    right = np.array([light.direction[2], 0, -light.direction[0]], np.float32)
    right /= np.linalg.norm(right) + 1e-6
    upward = np.cross(light.direction, right).astype(np.float32)
    ahead, sideways, above = np.stack([light.direction, right, upward / np.float32(1.4)]) @ ray
    # In the softbox's own plane: how far outside its frame the ray meets it.
    outside = np.maximum(np.abs(sideways), np.abs(above)) / np.maximum(ahead, 1e-3) - light.softness
    box = np.clip(0.5 - outside / (0.08 + 1.6 * blur), 0, 1) * (ahead > 0)
    # A rough surface spreads the same light over a larger patch.
    power = 11.0 * np.square(light.softness / (light.softness + 0.5 * blur)) + 0.5
    room += _coloured(light.key, power * box * box * (3 - 2 * box))
    if light.strip > 0:
        side = -np.sign(light.direction[0]) or 1.0
        along = np.clip(1 - np.abs(ray[0] * side - 0.8) / (0.1 + 0.3 * blur), 0, 1)
        room += _coloured(light.sky * (5 * light.strip), along * along * smoothstep(-0.5, 0.0, ray[1]))
    return room


def _refracted(behind: np.ndarray, at: np.ndarray, normal: np.ndarray, scale: float) -> np.ndarray:
    """The background, seen through a thick body: displaced towards the rim. [3, n]."""
    height, width = behind.shape[:2]
    rows, columns = np.divmod(at, width)
    bend = -0.13 * scale
    x = np.clip(columns + bend * normal[0] * np.abs(normal[0]), 0, width - 1).astype(np.int32)
    y = np.clip(rows - bend * 0.5 * normal[1], 0, height - 1).astype(np.int32)
    return np.ascontiguousarray(behind.reshape(-1, 3)[y * width + x].T)
