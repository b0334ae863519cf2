"""Where products are drawn before they are lit: what every pixel of them is made of and where it faces."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

#: Pixels per side of a pixel of the picture, so that edges are smooth.
SUPERSAMPLING = 2


@dataclass(frozen=True, slots=True)
class Surface:
    """What something is made of.

    Attributes:
        colour: linear RGB, 0 to 1.
        gloss: 0 matte to 1 mirror-smooth.
        metal: share of the light that is reflected in the surface's own colour.
        transmission: share of the light that passes through.
    """

    colour: tuple[float, float, float] | np.ndarray
    gloss: float = 0.3
    metal: float = 0.0
    transmission: float = 0.0


@dataclass(frozen=True, slots=True)
class View:
    """A parallel projection: where the world's points are in a buffer.

    World axes: x right, y up, z to the viewer; the product stands on y = 0 around the origin and is
    about 1 high.

    Attributes:
        scale: pixels of the buffer per unit.
        x, y: where the origin is, in the buffer's pixels.
        elevation: how far the camera looks down, in radians.
    """

    scale: float
    x: float
    y: float
    elevation: float

    @property
    def sin(self) -> float:
        """How much of the depth is seen."""
        return math.sin(self.elevation)

    @property
    def cos(self) -> float:
        """How much of the height is seen."""
        return math.cos(self.elevation)

    def project(self, points: np.ndarray) -> np.ndarray:
        """World [..., 3] → pixels [..., 2], pixel centres at whole numbers."""
        x, y, z = points[..., 0], points[..., 1], points[..., 2]
        return np.stack(
            [self.x + self.scale * x, self.y - self.scale * (y * self.cos - z * self.sin)], axis=-1
        )


@dataclass(slots=True)
class GBuffer:
    """The drawing. Arrays are indexed by row and column.

    Attributes:
        view: how it is seen.
        samples: float32 [h, w, 9]: normal in the world's axes, linear albedo, gloss, metal,
            transmission. Undefined where nothing is drawn.
        part: uint8 [h, w], the number of the part: 1 is what was drawn before the first one was begun; 0
            where nothing is drawn.
        footprint: polygons [n, 2] in x and z where the product touches the ground.
        parts: how many parts were begun.
        transmission: the largest of any surface.
    """

    view: View
    samples: np.ndarray
    part: np.ndarray
    footprint: list[np.ndarray] = field(default_factory=list)
    parts: int = 0
    transmission: float = 0.0

    @classmethod
    def empty(cls, height: int, width: int, view: View) -> GBuffer:
        """Nothing drawn yet."""
        return cls(view, np.empty((height, width, 9), np.float32), np.zeros((height, width), np.uint8))

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.part.shape[0], self.part.shape[1]

    def begin_part(self) -> None:
        """What is drawn from here on is another part, such as a cap."""
        self.parts += 1

    def put(
        self,
        rows: np.ndarray,
        columns: np.ndarray,
        normal: np.ndarray,
        surface: Surface,
        albedo: np.ndarray | None = None,
    ) -> None:
        """Draw over what is there.

        Args:
            rows: int [n] of the pixels; ``columns`` alike.
            normal: float32 [n, 3] or [3], need not be of unit length.
            surface: its colour is replaced by ``albedo`` [n, 3] where that is given.
        """
        block = np.empty((len(rows), 9), np.float32)
        block[:, :3] = normal
        block[:, 3:6] = surface.colour if albedo is None else albedo
        block[:, 6:] = (surface.gloss, surface.metal, surface.transmission)
        # One index into flat arrays is much faster than two.
        at = rows * self.part.shape[1] + columns
        self.samples.reshape(-1, 9)[at] = block
        self.part.reshape(-1)[at] = self.parts + 1
        self.transmission = max(self.transmission, surface.transmission)

    def stand_on(self, polygon: np.ndarray) -> None:
        """The product touches the ground here: [n, 2], x and z."""
        self.footprint.append(polygon)
