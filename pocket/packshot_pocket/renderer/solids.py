"""Boxes, and things made of an outline that bulges: bags, shoes, handles, straps."""

from __future__ import annotations

import math

import cv2
import numpy as np

from packshot_pocket.renderer.gbuffer import GBuffer, Surface
from packshot_pocket.renderer.labels import Artwork

_SHIFT = 4


def box(
    buffer: GBuffer,
    low: tuple[float, float, float],
    high: tuple[float, float, float],
    yaw: float,
    surfaces: tuple[Surface, Surface, Surface],
    artworks: tuple[Artwork | None, Artwork | None, Artwork | None] = (None, None, None),
) -> None:
    """A box turned around the vertical axis.

    Args:
        low, high: corners before turning; the front is at the high z.
        yaw: in radians, below a quarter turn either way: the front and one side are seen.
        surfaces: of the front, the sides and the top; ``artworks`` likewise.
    """
    (x0, y0, z0), (x1, y1, z1) = low, high
    front = [(x0, y1, z1), (x1, y1, z1), (x1, y0, z1), (x0, y0, z1)]
    right = [(x1, y1, z1), (x1, y1, z0), (x1, y0, z0), (x1, y0, z1)]
    left = [(x0, y1, z0), (x0, y1, z1), (x0, y0, z1), (x0, y0, z0)]
    top = [(x0, y1, z0), (x1, y1, z0), (x1, y1, z1), (x0, y1, z1)]
    side, facing = (right, (1.0, 0.0, 0.0)) if yaw < 0 else (left, (-1.0, 0.0, 0.0))
    faces = ((side, facing, 1), (front, (0.0, 0.0, 1.0), 0), (top, (0.0, 1.0, 0.0), 2))
    turn = _turning(yaw)
    for corners, normal, index in faces:
        face(buffer, np.array(corners) @ turn.T, turn @ np.array(normal), surfaces[index], artworks[index])


def face(
    buffer: GBuffer, corners: np.ndarray, normal: np.ndarray, surface: Surface, artwork: Artwork | None = None
) -> None:
    """A flat four-sided face.

    Args:
        corners: [4, 3] in the world: top left, top right, bottom right, bottom left of the artwork.
        normal: [3].
    """
    points = buffer.view.project(corners)
    layer = np.zeros(buffer.shape, np.uint8)
    cv2.fillPoly(layer, [np.round(points * (1 << _SHIFT)).astype(np.int32)], 1, cv2.LINE_8, _SHIFT)
    rows, columns = np.nonzero(layer)
    if not len(rows):
        return
    albedo = None
    if artwork is not None:
        square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
        matrix = cv2.getPerspectiveTransform(points.astype(np.float32), square)
        pixels = np.stack([columns, rows, np.ones_like(rows)]).astype(np.float32)
        u, v, w = matrix.astype(np.float32) @ pixels
        colour = np.broadcast_to(np.asarray(surface.colour, np.float32), (len(rows), 3))
        albedo = artwork.over(colour, u / w, v / w)
    buffer.put(rows, columns, normal.astype(np.float32), surface, albedo)


def bulge(
    buffer: GBuffer,
    outline: np.ndarray,
    rim: float,
    surface: Surface,
    artwork: Artwork | None = None,
    depth: float = 0.0,
) -> None:
    """A shape that faces the viewer and curves away at its rim, like a cushion.

    Args:
        outline: [n, 2], x and y.
        rim: width of what curves, in units.
        artwork: over the outline's bounding box.
        depth: z of the shape.
    """
    points = _on_plane(buffer, outline, depth)
    layer = np.zeros(buffer.shape, np.uint8)
    cv2.fillPoly(layer, [np.round(points * (1 << _SHIFT)).astype(np.int32)], 1, cv2.LINE_8, _SHIFT)
    _cushion(buffer, layer, rim, surface, artwork)


def tube(
    buffer: GBuffer,
    path: np.ndarray,
    thickness: float,
    surface: Surface,
    depth: float = 0.0,
    closed: bool = False,
) -> None:
    """A round bar along a path that faces the viewer.

    Args:
        path: [n, 2], x and y.
        thickness: diameter, in units.
    """
    points = np.round(_on_plane(buffer, path, depth) * (1 << _SHIFT)).astype(np.int32)
    layer = np.zeros(buffer.shape, np.uint8)
    width = max(2, round(thickness * buffer.view.scale))
    cv2.polylines(layer, [points], closed, 1, width, cv2.LINE_8, _SHIFT)
    _cushion(buffer, layer, thickness / 2, surface, None)


def rounded(points: list[tuple[float, float]], rounds: int = 3) -> np.ndarray:
    """A closed outline with its corners cut round: [n, 2]."""
    curve = np.array(points, np.float32)
    for _ in range(rounds):
        after = np.roll(curve, -1, axis=0)
        curve = np.stack([0.75 * curve + 0.25 * after, 0.25 * curve + 0.75 * after], axis=1).reshape(-1, 2)
    return curve


def arc(centre: tuple[float, float], radii: tuple[float, float], start: float, stop: float) -> np.ndarray:
    """Part of an ellipse: [24, 2]; angles in degrees, 0 to the right, 90 up."""
    angle = np.radians(np.linspace(start, stop, 24))
    return np.stack([centre[0] + radii[0] * np.cos(angle), centre[1] + radii[1] * np.sin(angle)], axis=1)


def rectangle(low: tuple[float, float, float], high: tuple[float, float, float], yaw: float) -> np.ndarray:
    """A box's footprint: [4, 2], x and z."""
    corners = [(low[0], 0, low[2]), (high[0], 0, low[2]), (high[0], 0, high[2]), (low[0], 0, high[2])]
    return (np.array(corners) @ _turning(yaw).T)[:, [0, 2]]


def _cushion(
    buffer: GBuffer, layer: np.ndarray, rim: float, surface: Surface, artwork: Artwork | None
) -> None:
    x, y, width, height = cv2.boundingRect(layer)
    if not width or not height:
        return
    window = cv2.copyMakeBorder(layer[y : y + height, x : x + width], 2, 2, 2, 2, cv2.BORDER_CONSTANT)
    reach = max(rim * buffer.view.scale, 1.0)
    inside = cv2.distanceTransform(window, cv2.DIST_L2, cv2.DIST_MASK_5)
    slope = 1 - np.clip(inside / reach, 0, 1)
    relief = reach * np.sqrt(np.maximum(1 - slope**2, 0))
    relief = cv2.GaussianBlur(relief, (0, 0), max(0.7, 0.06 * reach))
    across = cv2.Sobel(relief, cv2.CV_32F, 1, 0, scale=0.125)
    down = cv2.Sobel(relief, cv2.CV_32F, 0, 1, scale=0.125)
    rows, columns = np.nonzero(window)
    # Facing the camera, then into the world's axes.
    view = buffer.view
    nx, ny = -across[rows, columns], down[rows, columns]
    normal = np.stack([nx, ny * view.cos + view.sin, view.cos - ny * view.sin], axis=1)
    albedo = None
    if artwork is not None:
        colour = np.broadcast_to(np.asarray(surface.colour, np.float32), (len(rows), 3))
        u, v = (columns - 2 + 0.5) / width, (rows - 2 + 0.5) / height
        albedo = artwork.over(colour, u.astype(np.float32), v.astype(np.float32))
    buffer.put(rows + y - 2, columns + x - 2, normal, surface, albedo)


def _on_plane(buffer: GBuffer, outline: np.ndarray, depth: float) -> np.ndarray:
    outline = np.asarray(outline, np.float32)
    return buffer.view.project(np.insert(outline, 2, depth, axis=1))


def _turning(yaw: float) -> np.ndarray:
    cos, sin = math.cos(yaw), math.sin(yaw)
    return np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
