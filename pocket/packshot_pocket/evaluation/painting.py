"""Scenes painted as the server paints them: the exported graphs' modules behind packshot's own engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import nn

from packshot.canvas import GREY, Composition
from packshot.contract import MASK_THRESHOLD
from packshot.edges import canny
from packshot.parameters import Parameters
from packshot.paste import paste_back
from packshot_export.denoiser_graphs import ControlEmbedding, Step
from packshot_export.parts import Parts, open_parts
from packshot_export.text_graph import TextEncoder
from packshot_export.vae_graphs import VaeDecoder, VaeEncoder
from packshot_pocket.renderer import Scene
from packshot_serving.engine.batch_step import StepCache, advance
from packshot_serving.engine.padding import pad_batch
from packshot_serving.engine.preparation import Preparation
from packshot_serving.engine.request import DenoiseRequest
from packshot_serving.engine.runner import StepBatch
from packshot_serving.engine.slot import Slot


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """A picture to paint.

    Attributes:
        composition: product and canvas.
        prompt: what to paint.
        control_image: uint8 [H, W]; None for Canny of the product, as the client makes it.
        negative_prompt: what not to paint.
        seed: of the noise.
    """

    composition: Composition
    prompt: str
    control_image: np.ndarray | None = None
    negative_prompt: str = ""
    seed: int = 0


class Painter:
    """The models of a family on a device.

    Args:
        checkpoints: directory with ``diffusion``, ``controlnet`` and ``sam``.
        device: ``cpu`` or ``cuda``.
        batch_size: pictures that are painted together. They do not depend on it.
    """

    def __init__(self, checkpoints: Path, device: str = "cpu", batch_size: int = 8) -> None:
        names = (checkpoints / name for name in ("diffusion", "controlnet", "sam"))
        diffusion, controlnet, sam = (str(path) for path in names)
        parts = open_parts(diffusion, [controlnet], sam, "fp32")
        self._device, self._batch_size = torch.device(device), batch_size
        self._tokenizer = parts.tokenizer
        vae = parts.load_vae()
        self._encoder, self._decoder = self._placed(VaeEncoder(vae)), self._placed(VaeDecoder(vae))
        text = TextEncoder(parts.load_text_encoder(), parts.tokenizer.eos_token_id)
        self._text_encoder = self._placed(text)
        self._runner = TorchStepRunner(parts, self._device)
        self._preparation = Preparation(self._runner, parts.family)

    def paint(self, orders: Sequence[Order], parameters: Parameters) -> list[np.ndarray]:
        """The pictures uint8 [H, W, 3], the products pasted back."""
        painted: list[np.ndarray] = []
        for start in range(0, len(orders), self._batch_size):
            batch = orders[start : start + self._batch_size]
            latents = self._denoise(batch, parameters)
            for order, one in zip(batch, latents, strict=True):
                picture = self._call(self._decoder, latents=one[None])["image"][0]
                painted.append(paste_back(order.composition, picture))
        return painted

    def _denoise(self, orders: Sequence[Order], parameters: Parameters) -> list[np.ndarray]:
        results: dict[int, np.ndarray | Exception] = {}
        requests = [self._request(order, parameters) for order in orders]
        slots = [self._preparation.begin(asked, self._preparation.check(asked)) for asked in requests]
        numbers: dict[Slot, int] = {slot: number for number, slot in enumerate(slots)}
        cache = StepCache()
        while running := [slot for slot in slots if not slot.finished]:
            for outcome in advance(self._runner, running, cache).outcomes:
                if isinstance(outcome.result, Exception):
                    raise outcome.result
                results[numbers[outcome.slot]] = outcome.result
        return [np.asarray(results[number]) for number in range(len(orders))]

    def _request(self, order: Order, parameters: Parameters) -> DenoiseRequest:
        composition = order.composition
        encoded = self._call(
            self._encoder, image=composition.image[None], mask_image=composition.mask_image[None]
        )
        control = order.control_image
        if control is None:
            control = canny(composition.image, alpha=composition.alpha)
        return DenoiseRequest(
            prompt_embeds=self._embed(order.prompt),
            negative_prompt_embeds=self._embed(order.negative_prompt),
            masked_image_latents=encoded["masked_image_latents"][0],
            mask_latents=encoded["mask_latents"][0],
            control_image=control[None],
            seed=order.seed,
            parameters=parameters,
        )

    def _embed(self, prompt: str) -> np.ndarray:
        ids = self._tokenizer(prompt, padding="max_length", truncation=True)["input_ids"]
        return self._call(self._text_encoder, input_ids=np.array([ids], np.int64))["prompt_embeds"][0]

    def _placed(self, module: nn.Module) -> nn.Module:
        return module.eval().to(self._device)

    @torch.no_grad()
    def _call(self, module: nn.Module, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        # Copies: the client's arrays are read-only, which torch warns of.
        tensors = {name: torch.tensor(array, device=self._device) for name, array in arrays.items()}
        return {name: tensor.cpu().numpy() for name, tensor in module(**tensors).items()}


class TorchStepRunner:
    """The engine's :class:`packshot_serving.engine.runner.StepRunner` on the modules that are exported."""

    def __init__(self, parts: Parts, device: torch.device) -> None:
        controlnets = parts.load_controlnets()
        self._device = device
        self._control = ControlEmbedding(controlnets).eval().to(device)
        self._step = Step(parts.load_unet(), controlnets).eval().to(device)

    @torch.no_grad()
    def embed_control(self, control_image: np.ndarray) -> np.ndarray:
        """See :meth:`packshot_serving.engine.runner.StepRunner.embed_control`."""
        image = torch.tensor(control_image[None], device=self._device)
        return self._control(image)["control_embedding"][0].cpu().numpy()

    @torch.no_grad()
    def step(self, batch: StepBatch) -> np.ndarray:
        """See :meth:`packshot_serving.engine.runner.StepRunner.step`."""
        # One ControlNet row at least: diffusers cannot split the heads of none.
        batch = pad_batch(batch, batch.num_slots, batch.num_rows, max(1, batch.num_control_rows))
        inputs = {
            field.name: torch.from_numpy(getattr(batch, field.name)).to(self._device)
            for field in fields(batch)
        }
        return self._step(**inputs)["next_state"].cpu().numpy()


def composed(scene: Scene) -> Composition:
    """A rendered product on the canvas, as the client's ``compose`` leaves it."""
    visible = scene.alpha[..., None] > 0
    return Composition(
        image=np.where(visible, scene.foreground, np.uint8(GREY)),
        mask_image=np.where(scene.alpha < MASK_THRESHOLD, np.uint8(255), np.uint8(0)),
        alpha=scene.alpha,
        foreground=scene.foreground,
    )
