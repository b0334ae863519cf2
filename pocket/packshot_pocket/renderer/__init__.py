"""Pictures of products, drawn from numbers: the data that the pocket family is trained and judged on."""

from packshot_pocket.renderer.materials import MATERIALS as _MATERIALS
from packshot_pocket.renderer.palette import BACKDROPS
from packshot_pocket.renderer.products import PRODUCTS as _PRODUCTS
from packshot_pocket.renderer.scene import LightSide, Scene, Snapshot, SnapshotObject, Split, StudioTruth
from packshot_pocket.renderer.snapshot import render_snapshot
from packshot_pocket.renderer.studio import render_studio
from packshot_pocket.renderer.version import renderer_version

PRODUCTS: tuple[str, ...] = tuple(_PRODUCTS)
MATERIALS: tuple[str, ...] = tuple(_MATERIALS)

__all__ = [
    "BACKDROPS",
    "MATERIALS",
    "PRODUCTS",
    "LightSide",
    "Scene",
    "Snapshot",
    "SnapshotObject",
    "Split",
    "StudioTruth",
    "render_snapshot",
    "render_studio",
    "renderer_version",
]
