"""A shot without packshot's client: what any KServe client can do, in any language.

It uses tritonclient, numpy and OpenCV only; docs/grpc.md explains the calls. With ``make serve`` running::

    python examples/plain_grpc.py demo/coffee.jpg --box 74 14 484 390 --prompt "a cup on a dark wood table"
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import cv2
import numpy as np
from tritonclient.grpc import InferInput, InferResult
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import np_to_triton_dtype

#: Without it an error on a stream is text, and the stream goes on; with it, it is a gRPC status.
HEADERS = {"triton_grpc_error": "true"}
#: SAM's labels of a box's two corners.
TOP_LEFT, BOTTOM_RIGHT = 2, 3
GREY = 127


def inputs(**arrays: np.ndarray) -> list[InferInput]:
    """Tensors of a request. Every served model has a batch axis in front, of length 1 here."""
    made = []
    for name, array in arrays.items():
        one = InferInput(name, [1, *array.shape], np_to_triton_dtype(array.dtype) or "BYTES")
        one.set_data_from_numpy(array[None])
        made.append(one)
    return made


async def main(server: str, photo: np.ndarray, box: list[float], prompt: str, output: str) -> None:
    """Cut the product in a box out of a photo, paint a scene around it and write the picture."""
    async with InferenceServerClient(server) as client:
        answer: Any = await client.get_model_config("generate", as_json=True)
        family = json.loads(answer["config"]["parameters"]["family"]["string_value"])
        mask = await cut_out(client, photo, box, side=family["dims"]["S"])
        product, inside = place(photo, mask, side=family["canvas"]["native_side"])
        scene = await paint(client, product, inside, prompt, controlnets=family["dims"]["K"])
    # The scene has the product as the models rendered it: its own pixels go over it.
    picture = np.where(inside[..., None], product, scene)
    cv2.imwrite(output, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))


async def cut_out(
    client: InferenceServerClient, photo: np.ndarray, box: list[float], side: int
) -> np.ndarray:
    """SAM's best mask of what is in a box: bool [H, W]."""
    height, width = photo.shape[:2]
    scale = side / max(height, width)
    size = [max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))]
    square = np.zeros((side, side, 3), np.uint8)
    square[: size[0], : size[1]] = cv2.resize(photo, size[::-1], interpolation=cv2.INTER_AREA)
    corners = np.array(box, np.float32).reshape(2, 2) * (size[1] / width, size[0] / height)
    answer = await client.infer(
        "segment",
        inputs(
            image=square,
            reshaped_input_size=np.array(size, np.int64),
            point_coords=corners.astype(np.float32),
            point_labels=np.array([TOP_LEFT, BOTTOM_RIGHT], np.int64),
        ),
    )
    best = tensor(answer, "iou_predictions").argmax()
    logits = cv2.resize(tensor(answer, "low_res_masks")[best], (side, side))
    return cv2.resize(logits[: size[0], : size[1]], (width, height)) > 0


def place(photo: np.ndarray, mask: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """The product on a square of grey, in its middle: uint8 [side, side, 3], and where it is: bool."""
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    scale = 0.7 * side / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (side - size[0]) // 2, (side - size[1]) // 2
    cut = slice(y, y + height), slice(x, x + width)
    there = slice(top, top + size[1]), slice(left, left + size[0])
    product, inside = np.full((side, side, 3), GREY, np.uint8), np.zeros((side, side), bool)
    inside[there] = cv2.resize(mask[cut].astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.5
    product[there] = cv2.resize(photo[cut], size, interpolation=cv2.INTER_AREA)
    return np.where(inside[..., None], product, np.uint8(GREY)), inside


async def paint(
    client: InferenceServerClient, product: np.ndarray, inside: np.ndarray, prompt: str, controlnets: int
) -> np.ndarray:
    """The scene, with the product as the models see it: uint8 [H, W, 3]. Says how far the server is."""
    edges = cv2.Canny(product, 100, 200)
    request = {
        "model_name": "generate_stream",
        "inputs": inputs(
            prompt=np.array([prompt.encode()], object),
            image=product,
            mask_image=np.where(inside, 0, 255).astype(np.uint8),
            control_image=np.stack([edges] * controlnets),
            seed=np.array([1], np.int64),
        ),
    }

    async def requests() -> AsyncIterator[dict[str, Any]]:
        yield request

    answers: Any = client.stream_infer(requests(), headers=HEADERS)
    async for answer, error in answers:
        if error is not None:
            raise error
        if answer.as_numpy("generated_image") is not None:
            return tensor(answer, "generated_image")
        waiting, step, steps = (tensor(answer, name)[0] for name in ("queue_position", "step", "num_steps"))
        sys.stderr.write(f"number {waiting} in the queue\n" if waiting else f"step {step} of {steps}\n")
    raise RuntimeError("the stream ended without a picture")


def tensor(answer: InferResult | None, name: str) -> np.ndarray:
    """A tensor of an answer, without its batch axis."""
    array = None if answer is None else answer.as_numpy(name)
    if array is None:
        raise RuntimeError(f"{name} is missing in the answer")
    return array[0]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A shot over plain gRPC.")
    parser.add_argument("photo")
    parser.add_argument("--box", nargs=4, type=float, required=True, metavar=("X0", "Y0", "X1", "Y1"))
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--server", default="localhost:8001")
    parser.add_argument("--output", default="plain.png")
    given = parser.parse_args()
    picture = cv2.imread(given.photo)
    if picture is None:
        parser.error(f"{given.photo} is no picture that OpenCV reads")
    photo = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    asyncio.run(main(given.server, photo, given.box, given.prompt, given.output))
