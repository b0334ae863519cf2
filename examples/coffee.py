"""The demo: a cup on its saucer, cut out of a photo by a box, in four scenes and one contact sheet.

Run it with ``make demo``, or ``python examples/coffee.py --help``. The photo is CC0 and comes with
scikit-image.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from importlib.metadata import entry_points
from pathlib import Path

import cv2
import numpy as np
from contact_sheet import contact_sheet
from PIL import Image
from rich.console import Console
from rich.table import Table
from skimage.data import coffee

from packshot import Cutout, PackshotError, Placement, Shot, Studio, canny, compose

#: Around cup and saucer, x0, y0, x1, y1 in pixels of the 600 × 400 photo.
BOX = (74, 14, 484, 390)
CANVAS = (256, 256)
SCENES = (
    "cup of coffee on a dark wood table, beige background, light from the left",
    "cup of coffee on white marble, teal background, soft shadows",
    "cup of coffee on grey concrete, yellow background, hard light",
    "cup of coffee on white tiles, blue background, light from the right",
)
SEED = 1


class Stopwatch:
    """How long each stage took."""

    def __init__(self, console: Console) -> None:
        self.stages_s: list[tuple[str, float]] = []
        self._console = console

    @contextmanager
    def stage(self, what: str) -> Iterator[None]:
        """Time a stage."""
        self._console.print(f"{what} …")
        began = time.perf_counter()
        yield
        self.stages_s.append((what, time.perf_counter() - began))


def run(server: str | None, repository: Path, output: Path) -> None:
    """Make all pictures and print where they are.

    Args:
        server: ``host:port`` of a running server; None starts one on the repository.
        repository: a model repository.
        output: folder for the pictures.
    """
    console = Console()
    watch = Stopwatch(console)
    photo = coffee()
    output.mkdir(parents=True, exist_ok=True)
    files = {
        "photo": output / "coffee.jpg",
        "contact sheet": output / "contact-sheet.png",
        "SAM's cut-out": output / "cutout-sam.png",
        "cut-out": output / "cutout.png",
    }
    Image.fromarray(photo).save(files["photo"], quality=95)
    with ExitStack() as stack:
        if server is None:
            with watch.stage("start the server"):
                (embedded,) = entry_points(group="packshot.embedded_server")
                server = stack.enter_context(embedded.load()(repository, drain=False)).grpc_address
        studio = stack.enter_context(Studio(str(server)))
        with watch.stage("cut out, first prompt on the photo"):
            studio.cut_out(photo, points=[(290, 120)], boxes=[BOX])
        with watch.stage("cut out, second prompt (photo's embedding cached)"):
            studio.cut_out(photo, boxes=[BOX]).save(files["SAM's cut-out"])
        with watch.stage("a finer outline, by GrabCut"):
            cutout = grab_cut(photo)
        with watch.stage("compose and draw edges"):
            composition = compose(Placement(cutout, y=0.58, scale=0.8), CANVAS)
            edges = canny(composition.image, alpha=composition.alpha)
        with watch.stage(f"shoot {len(SCENES)} scenes at once"), ThreadPoolExecutor() as callers:

            def shoot(prompt: str) -> Shot:
                (shot,) = studio.shoot(composition, CANVAS, prompt, seed=SEED, control_image=edges)
                return shot

            shots = list(callers.map(shoot, SCENES))
    watch.stages_s += [
        (f"  scene {number}, from request to answer", shot.timings_s["generate"])
        for number, shot in enumerate(shots, 1)
    ]
    cutout.save(files["cut-out"])
    for number, shot in enumerate(shots, 1):
        files[f"scene {number}"] = output / f"coffee-{number}.png"
        shot.save(files[f"scene {number}"])
    contact_sheet(photo, cutout, composition.image, edges, shots).save(files["contact sheet"])
    print_tables(console, files, watch.stages_s)


def grab_cut(photo: np.ndarray) -> Cutout:
    """The product in the box by OpenCV's GrabCut: pocket's SAM finds it, but not to the pixel."""
    x0, y0, x1, y1 = BOX
    labels = np.full(photo.shape[:2], cv2.GC_BGD, np.uint8)
    # A saucer fills no corners; left in, its shadow would be taken for a part of it.
    centre, axes = ((x0 + x1) // 2, (y0 + y1) // 2), ((x1 - x0) // 2, (y1 - y0) // 2)
    cv2.ellipse(labels, centre, axes, 0, 0, 360, (cv2.GC_PR_FGD,), thickness=-1)
    cv2.setRNGSeed(0)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(photo, labels, (x0, y0, x1 - x0, y1 - y0), *models, 5, cv2.GC_INIT_WITH_MASK)
    mask = np.isin(labels, [cv2.GC_FGD, cv2.GC_PR_FGD]).astype(np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (15, 15)))
    # The spoon has none of the saucer's colours: fill the hole it left.
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(mask, [max(outlines, key=cv2.contourArea)], -1, (1,), thickness=-1)
    return Cutout.from_mask(photo, mask.astype(bool))


def print_tables(console: Console, files: dict[str, Path], stages_s: list[tuple[str, float]]) -> None:
    """Where the files are, and how long the stages took."""
    where = Table("picture", "file")
    for name, path in files.items():
        where.add_row(name, str(path))
    took = Table("stage", "seconds")
    took.columns[1].justify = "right"
    for stage, seconds in stages_s:
        took.add_row(stage, f"{seconds:.2f}")
    console.print(where, took)


def main() -> None:
    """Read the arguments and run the demo."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--server", default=os.environ.get("PACKSHOT_SERVER"), help="host:port; else one is started"
    )
    parser.add_argument("--repository", type=Path, default=Path("model_repository"))
    parser.add_argument("--output", type=Path, default=Path("demo"))
    arguments = parser.parse_args()
    try:
        run(arguments.server, arguments.repository, arguments.output)
    except PackshotError as error:
        sys.exit(f"coffee: error: {error}")


if __name__ == "__main__":
    main()
