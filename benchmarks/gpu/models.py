"""The models, made on the device with random weights, and inputs for them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from packshot.contract import GRAPHS
from packshot.family import Canvas, Family
from packshot.parameters import Parameters
from packshot_export import random_parts
from packshot_export.axes import random_inputs
from packshot_export.denoiser_graphs import ControlEmbedding, Step
from packshot_export.families import FULL_SIZE, SPECS, FamilySpec
from packshot_export.half import half
from packshot_export.random_tokenizer import make_tokenizer
from packshot_export.sam_graphs import SamDecoder, SamEncoder
from packshot_export.text_graph import TextEncoder
from packshot_export.vae_graphs import VaeDecoder, VaeEncoder
from packshot_serving.engine import STATE_SIZE, DenoiseRequest

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Sizes:
    """What is measured.

    Attributes:
        spec: of the models.
        side: of the canvas in pixels.
        steps: of a picture.
        rows: of a step.
        compiled_rows: of a step that is compiled first, which takes minutes for each.
        batches: of the graphs beside the step.
    """

    spec: FamilySpec
    side: int
    steps: int
    rows: tuple[int, ...]
    compiled_rows: tuple[int, ...]
    batches: tuple[int, ...]


FULL = Sizes(FULL_SIZE, 512, 25, (2, 4, 8, 16, 32), (2, 16), (1, 4))
TINY = Sizes(replace(SPECS["tiny-sd2"], prediction_type="epsilon"), 64, 3, (2, 4), (2,), (1,))


class Models:
    """Each model is made when it is first asked for.

    Args:
        sizes: of everything.
        device: ``cpu`` or ``cuda``.
        dtype: of the weights that are timed: fp16, or what a CPU is quick at.
    """

    def __init__(self, sizes: Sizes, device: str, dtype: torch.dtype) -> None:
        self.sizes, self.device, self.dtype = sizes, device, dtype
        self.precision = {torch.float16: "fp16", torch.float32: "fp32"}[dtype]
        self._tokenizer = make_tokenizer(sizes.spec.pad_token)

    @cached_property
    def unet(self) -> nn.Module:
        """fp32, as the others below that are not called ``fast``."""
        return self._made(0, lambda: random_parts.make_unet(self.sizes.spec))

    @cached_property
    def controlnet(self) -> nn.Module:
        """Its residuals matter."""
        return self._made(1, lambda: random_parts.make_controlnet(self.sizes.spec, self.unet))

    @cached_property
    def vae(self) -> nn.Module:
        """Unit-spread latents."""
        return self._made(2, lambda: random_parts.make_vae(self.sizes.spec))

    @cached_property
    def text_model(self) -> nn.Module:
        """Its vocabulary is small, which costs nothing."""
        return self._made(3, lambda: random_parts.make_text_encoder(self.sizes.spec, self._tokenizer))

    @cached_property
    def sam(self) -> nn.Module:
        """SAM as transformers has it."""
        return self._made(4, lambda: random_parts.make_sam(self.sizes.spec))

    @cached_property
    def step(self) -> Step:
        """The fused step."""
        return Step(self.unet, [self.controlnet]).eval()

    @cached_property
    def fast_step(self) -> Step:
        """In the precision that is timed."""
        return self.fast(self.step)

    @cached_property
    def family(self) -> Family:
        """What the contract's symbols are bound to."""
        spec = self.sizes.spec
        sam = spec.sam_image_size // 16
        dims = {
            "C": 4, "T": self._tokenizer.model_max_length, "D": spec.cross_attention_dim, "K": 1,
            "G": spec.block_out_channels[0], "S": spec.sam_image_size, "s": sam,
            "E": spec.sam_output_channels, "4s": 4 * sam,
        }  # fmt: skip
        return Family(
            "random", "fp16", dims, Canvas(max_side=1024), random_parts.scheduler_config(self.sizes.spec)
        )

    def parts(self) -> dict[str, nn.Module]:
        """The graphs beside the step, in fp32, by their names in the contract."""
        return {
            "text_encoder": TextEncoder(self.text_model, self._tokenizer.eos_token_id),
            "vae_encoder": VaeEncoder(self.vae),
            "vae_decoder": VaeDecoder(self.vae),
            "sam_encoder": SamEncoder(self.sam, MEAN, STD),
            "sam_decoder": SamDecoder(self.sam),
            "control_embedding": ControlEmbedding([self.controlnet]),
        }

    def fast(self, module: Module) -> Module:
        """A copy in the precision that is timed, as it is exported."""
        return half(module) if self.dtype == torch.float16 else copy.deepcopy(module)

    def axes(self, batch: int) -> dict[str, int]:
        """Sizes of the free axes: of a step with two rows for each of ``batch`` slots, all controlled."""
        latent = self.sizes.side // 8
        rows = {"B": batch, "R": 2 * batch, "P": 2 * batch, "m": STATE_SIZE, "N": 3}
        return {**rows, "h": latent, "w": latent}

    def inputs(self, graph: str, batch: int, seed: int = 0) -> dict[str, Tensor]:
        """Of a graph, on the device."""
        inputs = random_inputs(GRAPHS[graph], self.family.dims, self.axes(batch), 8, seed)
        if graph == "step":
            inputs |= _guided(batch, self.family.dims["K"])
            inputs["mask_latents"] = (inputs["mask_latents"] > 0).float()
        if graph == "sam_decoder":
            inputs["point_labels"] = torch.tensor([[1, 2, 3]]).expand(batch, -1).clone()
        if graph == "sam_encoder":
            inputs["reshaped_input_size"] += self.family.dims["S"]
        return {name: tensor.to(self.device) for name, tensor in inputs.items()}

    def request(self, seed: int) -> DenoiseRequest:
        """A picture to denoise, guided and controlled all the way."""
        inputs = self.inputs("step", 1, seed)
        arrays = {name: tensor.cpu().numpy() for name, tensor in inputs.items()}
        side, random = self.sizes.side, np.random.default_rng(seed)
        return DenoiseRequest(
            *arrays["encoder_hidden_states"],
            masked_image_latents=arrays["masked_image_latents"][0],
            mask_latents=arrays["mask_latents"][0],
            control_image=(random.random((1, side, side)) > 0.9).astype(np.uint8) * 255,
            seed=seed,
            parameters=Parameters(num_inference_steps=self.sizes.steps),
        )

    def _made(self, seed: int, make) -> nn.Module:
        with torch.random.fork_rng(), torch.no_grad(), torch.device(self.device):
            torch.manual_seed(seed)
            return make().to(self.device).eval().requires_grad_(False)


def _guided(batch: int, controlnets: int) -> Mapping[str, Tensor]:
    """Slots with two rows each, all of them controlled; a step in the middle of a run."""
    slots, rows = torch.arange(batch), torch.arange(2 * batch)
    transition = torch.eye(STATE_SIZE).expand(batch, -1, -1).clone()
    return {
        "transition": 0.9 * transition,
        "gain": torch.full((batch, STATE_SIZE), 0.1),
        "input_scale": torch.ones(batch),
        "timesteps": torch.linspace(901.0, 101.0, batch),
        "guidance_scale": torch.full((batch,), 7.5),
        "controlnet_conditioning_scale": torch.full((batch, controlnets), 0.5),
        "row_slot": slots.repeat(2),
        "cond_row": slots,
        "uncond_row": slots + batch,
        "control_row": rows,
        "row_residual": rows + 1,
    }
