"""What serving costs: gRPC → ensemble → picture, against the same graphs in a plain in-process loop.

``python -m benchmarks.serving_tax [REPOSITORY] [--pairs N] [--output FILE]``. One caller, one picture at
a time, both ways in turn in one run; in-process there is no gRPC, no ensemble, no engine and no queue,
only the tokenizer, ONNX Runtime sessions with the server's settings and a loop over the steps.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from tokenizers import Tokenizer
from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.utils import np_to_triton_dtype

from benchmarks.machine import describe
from packshot.contract import ARTIFACTS, TOKENIZER_FILE
from packshot.family import Family, Manifest
from packshot.generation import generate_arrays, prompts
from packshot.parameters import Parameters
from packshot_serving.engine import DenoiseRequest, OnnxStepRunner
from packshot_serving.engine.batch_step import StepCache, advance
from packshot_serving.engine.preparation import Preparation
from packshot_serving.launcher import TritonServer

TARGET = 1.05
SIDE, PARAMETERS = 256, Parameters(25)

Arrays = dict[str, np.ndarray]
Generate = Callable[[Arrays], np.ndarray]


def request(family: Family, seed: int) -> Arrays:
    """A picture with a square product, and random edges."""
    random = np.random.default_rng(seed)
    mask = np.full((SIDE, SIDE), 255, np.uint8)
    mask[SIDE // 4 : SIDE // 2, SIDE // 4 : SIDE // 2] = 0
    image = random.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    edges = np.where(random.random((SIDE, SIDE)) < 0.05, 255, 0).astype(np.uint8)
    # Another prompt each time: else the response cache would spare the server the text encoder.
    texts = prompts(f"a cup on a beach, {seed}", "blurry")
    arrays = generate_arrays(image, mask, edges, texts, PARAMETERS, 1, family.dims["K"])
    return {**arrays, "seed": np.array([seed], np.int64)}


def in_process(repository: Path, family: Family) -> Generate:
    """The chain as plain calls."""

    def session(name: str) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = repository / ARTIFACTS[name]
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    tokenizer = Tokenizer.from_file(str(repository / TOKENIZER_FILE))
    text_encoder, encoder, decoder = map(session, ("text_encoder", "vae_encoder", "vae_decoder"))
    runner = OnnxStepRunner((repository / ARTIFACTS["step"]).parent)
    preparation = Preparation(runner, family)

    def generate(arrays: Arrays) -> np.ndarray:
        ids = [tokenizer.encode(arrays[name].item().decode()).ids for name in ("prompt", "negative_prompt")]
        embeds = [text_encoder.run(None, {"input_ids": np.array([each], np.int64)})[0] for each in ids]
        pictures = {name: arrays[name][None] for name in ("image", "mask_image")}
        masked, mask = encoder.run(["masked_image_latents", "mask_latents"], pictures)
        asked = DenoiseRequest(
            np.asarray(embeds[0])[0], np.asarray(embeds[1])[0], np.asarray(masked)[0], np.asarray(mask)[0],
            arrays["control_image"], arrays["seed"].item(), parameters=PARAMETERS,
        )  # fmt: skip
        slot, cache = preparation.begin(asked, preparation.check(asked)), StepCache()
        while not slot.finished:
            advance(runner, [slot], cache)
        return np.asarray(decoder.run(None, {"latents": slot.state[:1]})[0])[0]

    return generate


def served(server: TritonServer) -> Generate:
    """The chain as one call of a server."""
    client = InferenceServerClient(server.grpc_address)

    def generate(arrays: Arrays) -> np.ndarray:
        inputs = []
        for name, array in arrays.items():
            inputs.append(InferInput(name, [1, *array.shape], np_to_triton_dtype(array.dtype)))
            inputs[-1].set_data_from_numpy(array[None])
        answer: Any = client.infer("generate", inputs)
        return answer.as_numpy("generated_image")[0]

    return generate


def measure(repository: Path, pairs: int) -> tuple[list[float], list[float], int]:
    """Seconds of each served and in-process picture, and the greatest difference of any pixel."""
    family = Manifest.read(repository).family
    times: tuple[list[float], list[float]] = ([], [])
    worst = 0
    with TritonServer(repository) as server:
        both = served(server), in_process(repository, family)
        for seed in range(-1, pairs):  # the first pair warms both up
            pictures = []
            arrays = request(family, seed + 1)
            for way, generate in enumerate(both) if seed % 2 else reversed(list(enumerate(both))):
                began = time.perf_counter()
                pictures.append(generate(arrays))
                if seed >= 0:
                    times[way].append(time.perf_counter() - began)
            worst = max(worst, int(np.abs(pictures[0].astype(int) - pictures[1]).max()))
    return *times, worst


def main() -> None:
    """Measure, print, and fail if the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("repository", nargs="?", type=Path, default=Path("model_repository"))
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--output", type=Path, help="where to write the results as JSON")
    options = parser.parse_args()
    through_server, alone, worst = measure(options.repository.resolve(), options.pairs)
    ratios = np.array(through_server) / np.array(alone)
    low, tax, high = (round(float(each), 4) for each in np.quantile(ratios, [0.25, 0.5, 0.75]))
    sys.stdout.write(
        f"served {np.median(through_server):.3f} s, in-process {np.median(alone):.3f} s: "
        f"tax {tax:.3f} ({low:.3f} to {high:.3f}); pictures at most {worst} of 255 apart\n"
    )
    if options.output:
        result = {
            "target": TARGET, "tax": tax, "quartiles": [low, high], "side": SIDE,
            "num_inference_steps": PARAMETERS.num_inference_steps, "greatest_difference": worst,
            **describe("onnxruntime"),
            "served_s": [round(each, 4) for each in through_server],
            "in_process_s": [round(each, 4) for each in alone],
        }  # fmt: skip
        options.output.write_text(json.dumps(result, indent=1) + "\n")
    if tax > TARGET:
        sys.exit(f"tax {tax}, expected at most {TARGET}")


if __name__ == "__main__":
    main()
