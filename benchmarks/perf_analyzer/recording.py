"""What every served model is asked, from photo to picture, on a running server."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image
from skimage.data import coffee
from tritonclient.grpc import InferenceServerClient

from benchmarks.perf_analyzer.input_data import Arrays
from packshot import Cutout, Parameters, Placement, canny, compose
from packshot.contract import ENSEMBLES, MODELS, PREVIEW_INTERVAL, SEED
from packshot.family import Family
from packshot.generation import generate_arrays, prompt_arrays
from packshot.inputs import infer_inputs
from packshot.parameters import INTERACTIVE
from packshot.sam_prompts import Letterbox, sam_prompts

#: Around cup and saucer, x0, y0, x1, y1 in pixels of the photo.
BOX = (74, 14, 484, 390)
#: One for each request.
SCENES = (
    "a wooden table", "a beach at noon", "a marble kitchen counter", "an autumn forest", "a café terrace",
    "a concrete wall", "a bookshelf", "black velvet",
)  # fmt: skip
#: Of the negative prompts: another in each, so that no request finds it in the text encoder's cache.
FLAWS = ("blurry", "text", "watermark", "low resolution", "noise", "people", "hands", "a logo")


class Recorder:
    """Goes through the ensembles' steps as Triton does, one call at a time, and keeps the inputs.

    Args:
        client: of the server.
        family: that it serves.
    """

    def __init__(self, client: InferenceServerClient, family: Family) -> None:
        self.asked: dict[str, list[Arrays]] = {name: [] for name in MODELS}
        self._client = client
        self._family = family

    def run(self, ensemble: str, arrays: Arrays) -> None:
        """Record a request of an ensemble, and what each model inside it is asked."""
        self.asked[ensemble].append(arrays)
        known = dict(arrays)
        for step in ENSEMBLES[ensemble]:
            inputs = {tensor: known[name] for tensor, name in step.inputs.items() if name in known}
            self.asked[step.model].append(inputs)
            outputs = self._infer(step.model, inputs)
            known |= {name: outputs[tensor] for tensor, name in step.outputs.items()}

    def _infer(self, name: str, arrays: Arrays) -> dict[str, np.ndarray]:
        model = MODELS[name]
        answer: Any = self._client.infer(name, infer_inputs(model, arrays, self._family.dims))
        return {tensor.name: answer.as_numpy(tensor.name)[0] for tensor in model.outputs}


def record(client: InferenceServerClient, family: Family, side: int) -> dict[str, list[Arrays]]:
    """Requests of every served model: the coffee photo, turned a little further each time.

    Args:
        client: of a server.
        family: that it serves.
        side: of the square canvas, in pixels.

    Returns:
        By model its requests, inputs by name, without batch axis. They have been answered, but for those of
        ``generate_stream``, which are ``generate``'s, and those of the ensembles as wholes.

    Raises:
        InvalidArgument: the family does not paint on such a canvas.
    """
    family.canvas.check(side, side)
    recorder = Recorder(client, family)
    for number, (scene, flaw) in enumerate(zip(SCENES, FLAWS, strict=True)):
        photo = np.asarray(Image.fromarray(coffee()).rotate(number))
        recorder.run("segment", _segment(photo, number, family))
        texts = prompt_arrays(f"a cup of coffee on {scene}", flaw)
        asked = {**_generate(photo, texts, family, side), SEED.name: np.array([number], np.int64)}
        recorder.run("generate", asked)
        no_previews = {PREVIEW_INTERVAL.name: np.zeros(1, np.int32)}
        recorder.asked["generate_stream"].append({**asked, **no_previews})
    return recorder.asked


def _segment(photo: np.ndarray, number: int, family: Family) -> Arrays:
    """A box and a point that moves: always three points, so that requests can share a batch."""
    height, width, _ = photo.shape
    letterbox = Letterbox(width, height, family.dims["S"])
    (prompt,) = sam_prompts(letterbox, points=[(270 + number, 120)], boxes=[BOX])
    return {
        "image": letterbox.fit(photo),
        "reshaped_input_size": np.array(letterbox.reshaped_input_size, np.int64),
        "point_coords": prompt.point_coords,
        "point_labels": prompt.point_labels,
    }


def _generate(photo: np.ndarray, texts: Arrays, family: Family, side: int) -> Arrays:
    """The product is all of the box, whatever the family's SAM has learnt."""
    x0, y0, x1, y1 = BOX
    mask = np.zeros(photo.shape[:2], bool)
    mask[y0:y1, x0:x1] = True
    composition = compose(Placement(Cutout.from_mask(photo, mask)), (side, side))
    edges = canny(composition.image, alpha=composition.alpha)
    return generate_arrays(
        composition.image, composition.mask_image, edges, texts, Parameters(), INTERACTIVE, family.dims["K"]
    )
