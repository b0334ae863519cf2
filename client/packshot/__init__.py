"""packshot: product photos to product shots, on NVIDIA Triton.

::

    from packshot import Placement, Studio

    with Studio("localhost:8001") as studio:
        cup = studio.cut_out("cup.jpg", boxes=[(74, 14, 484, 390)])
        shots = studio.shoot(Placement(cup, scale=0.7), (512, 512), "a cup on a beach", num_images=4)
    for shot in shots:
        shot.save(f"beach-{shot.seed}.png")
"""

from importlib.metadata import version

from packshot.canvas import Composition, Placement, compose
from packshot.cutout import Cutout
from packshot.edges import canny
from packshot.errors import (
    DeadlineExceeded,
    ExportError,
    InternalError,
    InvalidArgument,
    Overloaded,
    PackshotError,
    PromptTruncatedWarning,
    RepositoryError,
    ServerStartError,
    Unavailable,
)
from packshot.family import Family
from packshot.options import Options
from packshot.parameters import Parameters
from packshot.paste import paste_back
from packshot.photo import Photo, load_photo
from packshot.png import read_made_by
from packshot.progress import StepProgress
from packshot.shot import Shot
from packshot.studio import AsyncStudio
from packshot.sync import Studio

__version__ = version("packshot")

__all__ = [
    "AsyncStudio",
    "Composition",
    "Cutout",
    "DeadlineExceeded",
    "ExportError",
    "Family",
    "InternalError",
    "InvalidArgument",
    "Options",
    "Overloaded",
    "PackshotError",
    "Parameters",
    "Photo",
    "Placement",
    "PromptTruncatedWarning",
    "RepositoryError",
    "ServerStartError",
    "Shot",
    "StepProgress",
    "Studio",
    "Unavailable",
    "__version__",
    "canny",
    "compose",
    "load_photo",
    "paste_back",
    "read_made_by",
]
