"""The single definition of every served tensor.

Triton configs, ONNX axes, client inputs and the tensor table of the docs are derived from
``MODELS`` and ``GRAPHS``; a test regenerates what is committed and compares.

Dims are symbols (``SYMBOLS`` explains each) or integers. The batch axis is left out; every served
model has one. A *family* (a set of checkpoints, see :mod:`packshot.family`) binds some symbols to
numbers; the others stay free from request to request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from packshot.parameters import (
    MAX_CONTROLNET_SCALE,
    MAX_GUIDANCE_SCALE,
    MAX_INFERENCE_STEPS,
    SCHEDULERS,
    Parameters,
)

Dtype = Literal["UINT8", "INT32", "INT64", "FP32", "BYTES"]
#: What numpy and messages call them; BYTES are text.
DTYPE_NAMES: dict[Dtype, str] = {
    "UINT8": "uint8", "INT32": "int32", "INT64": "int64", "FP32": "float32", "BYTES": "text"
}  # fmt: skip
Kind = Literal["onnxruntime", "python", "ensemble"]

SYMBOLS: dict[str, str] = {
    "H": "canvas height in pixels",
    "W": "canvas width in pixels",
    "h": "latent height, H / the VAE's downscale factor",
    "w": "latent width, W / the VAE's downscale factor",
    "C": "latent channels",
    "T": "tokens of a prompt",
    "D": "width of the prompt embeddings",
    "K": "number of ControlNets",
    "G": "channels of a control embedding",
    "S": "side of SAM's input image in pixels",
    "s": "side of SAM's image embedding",
    "E": "channels of SAM's image embedding",
    "4s": "side of SAM's low-resolution masks",
    "N": "points of a SAM prompt, box corners and padding included",
    "B": "batch",
    "R": "UNet rows of a step: one or two for each slot",
    "P": "rows of a step that the ControlNets work on: none to all",
    "m": "latents that a scheduler carries from step to step",
}

#: Symbols that a family binds; all others are free.
FAMILY_SYMBOLS = ("C", "T", "D", "K", "G", "S", "s", "E", "4s")

#: Labels of SAM points, as in segment-anything and transformers.
LABEL_BACKGROUND, LABEL_FOREGROUND, LABEL_BOX_TOP_LEFT, LABEL_BOX_BOTTOM_RIGHT = 0, 1, 2, 3
#: "Not a point": ends a prompt without a box. ``LABEL_IGNORE`` embeds to zeros.
LABEL_NOT_A_POINT, LABEL_IGNORE = -1, -10

#: mask_image pixels at or above this are repainted, below it kept (0.5 of 255).
MASK_THRESHOLD = 128


@dataclass(frozen=True, slots=True)
class Tensor:
    """One named tensor: dtype, dims without the batch axis, layout and value range."""

    name: str
    dtype: Dtype
    dims: tuple[str | int, ...]
    doc: str
    optional: bool = False

    def bind(self, bound: Mapping[str, int]) -> tuple[int, ...]:
        """Dims as integers; −1 where the symbol is free."""
        return tuple(d if isinstance(d, int) else bound.get(d, -1) for d in self.dims)


@dataclass(frozen=True, slots=True)
class Model:
    """A model that Triton serves."""

    name: str
    kind: Kind
    doc: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    max_batch_size: int = 1
    response_cache: bool = False
    decoupled: bool = False

    def input(self, name: str) -> Tensor:
        """The input called ``name``."""
        return next(tensor for tensor in self.inputs if tensor.name == name)


@dataclass(frozen=True, slots=True)
class Graph:
    """An ONNX graph. Its leading axes are written out, since they differ from tensor to tensor."""

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an ensemble; maps are tensor of the model → tensor of the ensemble."""

    model: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


def _all_optional(*tensors: Tensor) -> tuple[Tensor, ...]:
    """For the checks: what is missing is theirs to name. Triton would speak of a deadlock."""
    return tuple(replace(tensor, optional=True) for tensor in tensors)


PROMPT = Tensor("prompt", "BYTES", (1,), "UTF-8 text")
NEGATIVE_PROMPT = Tensor("negative_prompt", "BYTES", (1,), 'UTF-8 text; "" if left out', True)
INPUT_IDS = Tensor("input_ids", "INT64", ("T",), "token ids, padded as the checkpoint's tokenizer does")
NEGATIVE_INPUT_IDS = Tensor("negative_input_ids", "INT64", ("T",), "the same of negative_prompt")
NUM_TRUNCATED_TOKENS = Tensor(
    "num_truncated_tokens", "INT32", (2,), "tokens of prompt and negative_prompt that did not fit"
)
PROMPT_EMBEDS = Tensor("prompt_embeds", "FP32", ("T", "D"), "last hidden state of the text encoder")
NEGATIVE_PROMPT_EMBEDS = Tensor("negative_prompt_embeds", "FP32", ("T", "D"), "the same of negative_prompt")
IMAGE = Tensor("image", "UINT8", ("H", "W", 3), "RGB, the canvas with the product on it")
DECODED_IMAGE = replace(IMAGE, doc="RGB, as decoded; the product is not pasted back")
MASK_IMAGE = Tensor(
    "mask_image", "UINT8", ("H", "W"), f"≥ {MASK_THRESHOLD}: repaint, below: keep the product"
)
CONTROL_IMAGE = Tensor(
    "control_image", "UINT8", ("K", "H", "W"), "Canny edges, 0 or 255, one for each ControlNet"
)
MASKED_IMAGE_LATENTS = Tensor(
    "masked_image_latents", "FP32", ("C", "h", "w"), "mode of the VAE's posterior, times scaling_factor"
)
MASK_LATENTS = Tensor("mask_latents", "FP32", (1, "h", "w"), "0 or 1, nearest neighbour of mask_image")
LATENTS = Tensor("latents", "FP32", ("C", "h", "w"), "in the scale of the UNet")
INITIAL_LATENTS = Tensor(
    "latents",
    "FP32",
    ("C", "h", "w"),
    "noise of unit variance to begin from; only euler_ancestral's later noise is the seed's then",
    True,
)
IMAGE_LATENTS = Tensor(
    "image_latents",
    "FP32",
    ("C", "h", "w"),
    "latents of the picture to start from, vae_encoder's masked_image_latents of it with a mask_image of "
    "zeros; needed at strength < 1, else not read",
    True,
)
SEED = Tensor("seed", "INT64", (1,), "0 to 2^63 − 1; 0 if left out", True)
PRIORITY = Tensor("priority", "INT32", (1,), "1 interactive, 2 catalogue; 1 if left out", True)


def _parameter(name: str, dtype: Dtype, dim: str | int, values: str) -> Tensor:
    default = getattr(Parameters(), name)
    shown = default if isinstance(default, str) else f"{default:g}"
    return Tensor(name, dtype, (dim,), f"{values}; the family's, or {shown}", True)


PARAMETERS = (
    _parameter("num_inference_steps", "INT32", 1, f"1 to {MAX_INFERENCE_STEPS}"),
    _parameter("guidance_scale", "FP32", 1, f"0 to {MAX_GUIDANCE_SCALE:g}"),
    _parameter("controlnet_conditioning_scale", "FP32", "K", f"0 to {MAX_CONTROLNET_SCALE:g}"),
    _parameter("control_guidance_start", "FP32", "K", "0 to 1"),
    _parameter("control_guidance_end", "FP32", "K", "above the start, to 1"),
    _parameter("scheduler", "BYTES", 1, f"one of {', '.join(SCHEDULERS)}"),
    _parameter("guidance_end", "FP32", 1, "0 to 1"),
    _parameter("strength", "FP32", 1, "above 0, to 1"),
)
PARAMETER_NAMES = tuple(tensor.name for tensor in PARAMETERS)

SAM_IMAGE = Tensor(
    "image", "UINT8", ("S", "S", 3), "RGB, longest side scaled to S, rest of the square any value"
)
RESHAPED_INPUT_SIZE = Tensor(
    "reshaped_input_size", "INT64", (2,), "height and width of the photo inside the square"
)
IMAGE_EMBEDDINGS = Tensor("image_embeddings", "FP32", ("E", "s", "s"), "SAM's image embedding")
#: Of a prompt to SAM, a box's corners among them. What the decoder needs grows with the square of it.
MAX_POINTS = 64
POINT_COORDS = Tensor(
    "point_coords", "FP32", ("N", 2), f"x, y in pixels of the S × S square; at most {MAX_POINTS}"
)
POINT_LABELS = Tensor(
    "point_labels",
    "INT64",
    ("N",),
    "1 product, 0 background, 2 and 3 a box's corners, −1 ends a prompt without box",
)
LOW_RES_MASKS = Tensor("low_res_masks", "FP32", (3, "4s", "4s"), "logits of three masks, > 0 is inside")
IOU_PREDICTIONS = Tensor("iou_predictions", "FP32", (3,), "predicted IoU of each mask")

#: An ensemble has one namespace for its tensors, so the picture cannot be called ``image`` again.
GENERATED_IMAGE = replace(DECODED_IMAGE, name="generated_image")

TICKET = Tensor("ticket", "INT64", (1,), "set by generate_stream, to follow and to cancel the request", True)
PREVIEW_INTERVAL = Tensor(
    "preview_interval", "INT32", (1,), "steps from preview to preview; 0, no previews, if left out", True
)

_GENERATE_INPUTS = (
    PROMPT, NEGATIVE_PROMPT, IMAGE, MASK_IMAGE, CONTROL_IMAGE, SEED, INITIAL_LATENTS, IMAGE_LATENTS,
    *PARAMETERS, PRIORITY,
)  # fmt: skip
#: What the responses of ``generate_stream`` hold before the last one.
PROGRESS = (
    Tensor("queue_position", "INT32", (1,), "1: the next to begin; 0: begun, or not yet at the denoiser"),
    Tensor("step", "INT32", (1,), "steps taken"),
    Tensor("num_steps", "INT32", (1,), "steps in all; 0 before the denoiser has it"),
)
PREVIEW_IMAGE = Tensor(
    "preview_image", "UINT8", ("H", "W", 3), "RGB, the noisy latents decoded; where preview_interval asks"
)

MODELS: dict[str, Model] = {
    model.name: model
    for model in (
        Model(
            "check_prompts", "python", "refuses a SAM prompt that cannot be right, before the encoder runs",
            _all_optional(RESHAPED_INPUT_SIZE, POINT_COORDS, POINT_LABELS), (RESHAPED_INPUT_SIZE,),
        ),
        Model(
            "sam_encoder", "onnxruntime", "photo → image embedding; cached by the photo",
            (SAM_IMAGE, RESHAPED_INPUT_SIZE), (IMAGE_EMBEDDINGS,), max_batch_size=4, response_cache=True,
        ),
        Model(
            "sam_decoder", "onnxruntime", "embedding and prompt → three masks; batches across photos",
            (IMAGE_EMBEDDINGS, POINT_COORDS, POINT_LABELS), (LOW_RES_MASKS, IOU_PREDICTIONS),
            max_batch_size=16,
        ),
        Model(
            "segment", "ensemble", "photo and prompt → masks",
            (SAM_IMAGE, RESHAPED_INPUT_SIZE, POINT_COORDS, POINT_LABELS), (LOW_RES_MASKS, IOU_PREDICTIONS),
        ),
        Model(
            "check_inputs", "python", "refuses a generation that cannot be right, before anything is queued",
            _all_optional(*_GENERATE_INPUTS), (PROMPT, NEGATIVE_PROMPT, MASK_IMAGE),
        ),
        Model(
            "tokenizer", "python", "the checkpoint's own tokenizer",
            (PROMPT, NEGATIVE_PROMPT), (INPUT_IDS, NEGATIVE_INPUT_IDS, NUM_TRUNCATED_TOKENS),
        ),
        Model(
            "text_encoder", "onnxruntime", "token ids → prompt embeddings; cached by the prompt",
            (INPUT_IDS,), (PROMPT_EMBEDS,), max_batch_size=16, response_cache=True,
        ),
        Model(
            "vae_encoder", "onnxruntime", "canvas and mask → what the inpainting UNet sees of them",
            (IMAGE, MASK_IMAGE), (MASKED_IMAGE_LATENTS, MASK_LATENTS), max_batch_size=2,
        ),
        Model(
            "denoiser", "python", "step-level continuous batching of the fused ControlNet + UNet step",
            (
                PROMPT_EMBEDS, NEGATIVE_PROMPT_EMBEDS, MASKED_IMAGE_LATENTS, MASK_LATENTS, CONTROL_IMAGE,
                SEED, INITIAL_LATENTS, IMAGE_LATENTS, *PARAMETERS, PRIORITY, TICKET,
            ),
            (LATENTS,),
        ),
        Model(
            "vae_decoder", "onnxruntime", "latents → picture",
            (LATENTS,), (DECODED_IMAGE,), max_batch_size=2,
        ),
        Model(
            "generate", "ensemble", "canvas, mask, edges and prompt → picture; unary",
            (*_GENERATE_INPUTS, TICKET), (GENERATED_IMAGE, NUM_TRUNCATED_TOKENS),
        ),
        Model(
            "generate_stream", "python",
            "generate for interactive callers: progress, then the picture; ends when its caller goes",
            (*_GENERATE_INPUTS, PREVIEW_INTERVAL),
            (*PROGRESS, PREVIEW_IMAGE, GENERATED_IMAGE, NUM_TRUNCATED_TOKENS), decoupled=True,
        ),
    )
}  # fmt: skip

ENSEMBLES: dict[str, tuple[Step, ...]] = {
    "segment": (
        Step(
            "check_prompts",
            _same("reshaped_input_size", "point_coords", "point_labels"),
            {"reshaped_input_size": "checked_reshaped_input_size"},
        ),
        Step(
            "sam_encoder",
            {"image": "image", "reshaped_input_size": "checked_reshaped_input_size"},
            _same("image_embeddings"),
        ),
        Step(
            "sam_decoder",
            _same("image_embeddings", "point_coords", "point_labels"),
            _same("low_res_masks", "iou_predictions"),
        ),
    ),
    # Every working step hangs on an output of check_inputs, so a refused request queues no work.
    "generate": (
        Step(
            "check_inputs",
            _same(*(tensor.name for tensor in _GENERATE_INPUTS)),
            {name: f"checked_{name}" for name in ("prompt", "negative_prompt", "mask_image")},
        ),
        Step(
            "tokenizer",
            {name: f"checked_{name}" for name in ("prompt", "negative_prompt")},
            _same("input_ids", "negative_input_ids", "num_truncated_tokens"),
        ),
        Step("text_encoder", _same("input_ids"), _same("prompt_embeds")),
        Step(
            "text_encoder",
            {"input_ids": "negative_input_ids"},
            {"prompt_embeds": "negative_prompt_embeds"},
        ),
        Step(
            "vae_encoder",
            {"image": "image", "mask_image": "checked_mask_image"},
            _same("masked_image_latents", "mask_latents"),
        ),
        Step(
            "denoiser",
            _same(*(tensor.name for tensor in MODELS["denoiser"].inputs)),
            {"latents": "denoised_latents"},
        ),
        Step("vae_decoder", {"latents": "denoised_latents"}, {"image": "generated_image"}),
    ),
}


def _batched(tensor: Tensor, axis: str = "B") -> Tensor:
    return Tensor(tensor.name, tensor.dtype, (axis, *tensor.dims), tensor.doc)


def _served_graph(model: Model) -> Graph:
    return Graph(model.name, tuple(map(_batched, model.inputs)), tuple(map(_batched, model.outputs)))


_CONTROL_EMBEDDING = Tensor(
    "control_embedding", "FP32", ("B", "K", "G", "h", "w"), "the ControlNets' conditioning embeddings"
)

#: Every ONNX graph of a repository: those Triton serves, and the two the denoiser runs itself.
GRAPHS: dict[str, Graph] = {
    **{model.name: _served_graph(model) for model in MODELS.values() if model.kind == "onnxruntime"},
    "control_embedding": Graph("control_embedding", (_batched(CONTROL_IMAGE),), (_CONTROL_EMBEDDING,)),
    # ControlNet(s) + UNet + guidance + scheduler update. B counts slots. A slot has one UNet row, or
    # two when it is guided; the rows may stand in any order.
    #   pred       = unet(rows)                                               [R, C, h, w]
    #   guided     = pred[uncond_row] + guidance_scale * (pred[cond_row] − pred[uncond_row])
    #   next_state = transition @ state + gain * guided                       over the axis m
    # state[0] is the sample; the rest is the scheduler's history. uncond_row = cond_row: no guidance.
    # The ControlNets see rows[control_row] only, and the UNet adds their residuals to those rows. A slot
    # whose weights are 0 needs no such rows; there may be none at all.
    "step": Graph(
        "step",
        (
            Tensor("state", "FP32", ("B", "m", "C", "h", "w"), "sample first, then the scheduler's history"),
            Tensor("transition", "FP32", ("B", "m", "m"), "scheduler update: next state from state"),
            Tensor("gain", "FP32", ("B", "m"), "scheduler update: next state from the guided model output"),
            Tensor("input_scale", "FP32", ("B",), "what the sample is multiplied by before the UNet sees it"),
            Tensor("timesteps", "FP32", ("B",), "the scheduler's timestep"),
            Tensor("guidance_scale", "FP32", ("B",), "classifier-free guidance weight"),
            Tensor("controlnet_conditioning_scale", "FP32", ("B", "K"), "0 outside the ControlNet's window"),
            _batched(MASK_LATENTS),
            _batched(MASKED_IMAGE_LATENTS),
            _CONTROL_EMBEDDING,
            Tensor("encoder_hidden_states", "FP32", ("R", "T", "D"), "prompt embeddings of each row"),
            Tensor("row_slot", "INT64", ("R",), "which slot a row belongs to"),
            Tensor("cond_row", "INT64", ("B",), "the slot's row with the prompt"),
            Tensor("uncond_row", "INT64", ("B",), "the slot's row with the negative prompt, or cond_row"),
            Tensor("control_row", "INT64", ("P",), "the rows that the ControlNets work on"),
            Tensor(
                "row_residual", "INT64", ("R",), "0: the row has no residuals; i + 1: those of control_row[i]"
            ),
        ),
        (Tensor("next_state", "FP32", ("B", "m", "C", "h", "w"), "state after the step"),),
    ),
}

#: Where each graph lies in a repository.
ARTIFACTS: dict[str, str] = {
    name: f"denoiser/1/{name}.onnx" if name in ("step", "control_embedding") else f"{name}/1/model.onnx"
    for name in GRAPHS
}
TOKENIZER_FILE = "tokenizer/1/tokenizer.json"

#: What builds TensorRT plans → how their names end. One's plans are nothing to the other.
PLAN_ENDINGS = {"tensorrt": "plan", "tensorrt_rtx": "rtx.plan"}


def plan_file(name: str, gpu: str, flavour: str) -> str:
    """Where a graph's TensorRT plan lies in a repository: ``vae_decoder/1/model.sm89.plan``.

    Args:
        name: of the graph.
        gpu: the compute capability that it is for, such as ``sm_89``.
        flavour: of ``PLAN_ENDINGS``.
    """
    return f"{ARTIFACTS[name].removesuffix('onnx')}{gpu.replace('_', '')}.{PLAN_ENDINGS[flavour]}"
