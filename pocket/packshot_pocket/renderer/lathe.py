"""Solids of revolution: cups, bottles, jars, lamps, plates."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from packshot_pocket.renderer.gbuffer import GBuffer, Surface
from packshot_pocket.renderer.labels import Artwork

_SHIFT = 4  # fractional bits of OpenCV's coordinates


@dataclass(frozen=True, slots=True)
class Band:
    """Artwork around a solid.

    Attributes:
        artwork: what is printed.
        bottom, top: heights between which it is printed.
        half_angle: how far it reaches round, in radians; π goes all the way.
    """

    artwork: Artwork
    bottom: float
    top: float
    half_angle: float


def smooth_profile(points: list[tuple[float, float]], steps: int = 48) -> np.ndarray:
    """A rounded outline through corner points (Chaikin's corner cutting): [n, 2], radius and height."""
    curve = np.array(points, np.float32)
    while len(curve) < steps:
        a, b = curve[:-1], curve[1:]
        cut = np.stack([0.75 * a + 0.25 * b, 0.25 * a + 0.75 * b], axis=1).reshape(-1, 2)
        curve = np.concatenate([curve[:1], cut, curve[-1:]])
    return curve


def lathe(
    buffer: GBuffer,
    profile: np.ndarray,
    surface: Surface,
    centre: tuple[float, float] = (0.0, 0.0),
    band: Band | None = None,
) -> None:
    """Turn an outline around the vertical axis.

    Circles are painted from the bottom up: each hides what of the lower ones lies behind it, and
    what stays visible of each is its rim, where the normal is known.

    Args:
        profile: [n, 2], radius and height, from the bottom to the top. Ends with radius 0 if closed.
        centre: x and z of the axis.
    """
    _turn(buffer, profile, surface, centre, band, inside=False)


def hollow(
    buffer: GBuffer, profile: np.ndarray, surface: Surface, centre: tuple[float, float] = (0.0, 0.0)
) -> None:
    """The inside of a vessel that was turned before.

    Args:
        profile: [n, 2], radius and height, from the rim down; ends with radius 0 at a floor or liquid.
    """
    _turn(buffer, profile, surface, centre, None, inside=True)


def circle(radius: float, centre: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """A round footprint: [24, 2], x and z."""
    angle = np.linspace(0, 2 * math.pi, 24, endpoint=False)
    return np.stack([centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)], axis=1)


def _turn(
    buffer: GBuffer,
    profile: np.ndarray,
    surface: Surface,
    centre: tuple[float, float],
    band: Band | None,
    inside: bool,
) -> None:
    view = buffer.view
    radius, heights = _resample(profile, view.scale)
    origin = view.project(np.array([centre[0], 0.0, centre[1]]))
    across = np.maximum(radius * view.scale, 0.3)
    deep = np.maximum(across * view.sin, 0.3)
    middles = origin[1] - heights * view.scale * view.cos
    left, top = math.floor(origin[0] - across.max()) - 2, math.floor((middles - deep).min()) - 2
    right, bottom = math.ceil(origin[0] + across.max()) + 3, math.ceil((middles + deep).max()) + 3
    left, top = max(left, 0), max(top, 0)
    right, bottom = min(right, buffer.shape[1]), min(bottom, buffer.shape[0])
    if left >= right or top >= bottom:
        return
    layer, first = (np.zeros((bottom - top, right - left), np.float32) for _ in range(2))
    # In sixteenths of a pixel.
    places = np.stack([np.full_like(middles, origin[0] - left), middles - top, across, deep], axis=1)
    for index, (x, y, width, height) in enumerate(np.rint(places * (1 << _SHIFT)).astype(int).tolist()):
        for target in (layer, first) if index == 0 else (layer,):
            cv2.ellipse(target, (x, y), (width, height), 0, 0, 360, index + 1.0, -1, cv2.LINE_8, _SHIFT)
    if inside:
        layer *= first  # deeper circles are seen through the opening only
    rows, columns = np.nonzero(layer)
    if not rows.size:
        return  # nothing of it is in the picture
    index = layer.reshape(-1)[rows * layer.shape[1] + columns].astype(np.int32) - 1
    tangent = np.stack([np.gradient(radius), np.gradient(heights)])
    tangent /= np.maximum(np.hypot(*tangent), 1e-6)
    table = np.stack([across, deep, middles - top, tangent[1], -tangent[0], heights], axis=1)
    width, depth, middle, outward, upward, level = table.astype(np.float32)[index].T
    # The circle's rim: x is exact, z follows from it, so prints do not jitter from row to row.
    x = np.clip((columns + np.float32(left - origin[0])) / width, -1, 1)
    z = np.copysign(np.sqrt(1 - x * x), (rows - middle) / depth)
    normal = np.stack([x * outward, upward, z * outward], axis=1)
    albedo = None
    if band is not None:
        albedo = _printed(band, surface, level, np.arctan2(x, z))
    buffer.put(rows + top, columns + left, normal, surface, albedo)


def _printed(band: Band, surface: Surface, height: np.ndarray, angle: np.ndarray) -> np.ndarray:
    u = angle / band.half_angle * 0.5 + 0.5
    v = (band.top - height) / (band.top - band.bottom)
    colour = np.broadcast_to(np.asarray(surface.colour, np.float32), (len(u), 3))
    return band.artwork.over(colour, u.astype(np.float32), v.astype(np.float32))


def _resample(profile: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Points about a pixel apart."""
    steps = np.hypot(*np.diff(profile, axis=0).T)
    along = np.concatenate([[0], np.cumsum(steps)])
    count = max(8, math.ceil(along[-1] * scale * 0.9))
    at = np.linspace(0, along[-1], count)
    radius = np.interp(at, along, profile[:, 0])
    return radius.astype(np.float32), np.interp(at, along, profile[:, 1]).astype(np.float32)
