"""The asyncio client: photo → cut-out, cut-outs and a prompt → product shots."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Unpack

import numpy as np

from packshot.canvas import Composition, Placement, check_canvas, compose
from packshot.checks import integer
from packshot.cutout import Cutout
from packshot.edges import canny
from packshot.errors import InternalError, expected
from packshot.family import Family
from packshot.gathering import gathered
from packshot.generation import check_settings, generate_arrays, image_seeds, prompt_arrays, warn_truncated
from packshot.masks import best_cutout
from packshot.options import Options
from packshot.parameters import INTERACTIVE, MAX_INFERENCE_STEPS, Parameters, check_priority, check_seed
from packshot.paste import paste_back
from packshot.photo import PhotoSource, load_photo
from packshot.progress import OnStep, StepProgress
from packshot.sam_prompts import Boxes, Labels, Letterbox, Points, SamPrompt, sam_prompts
from packshot.shot import ParameterFields, Shot
from packshot.transport import Transport

Progress = Callable[[int, int, Shot], None]


class AsyncStudio:
    """A client of one packshot server, for asyncio.

    Args:
        server: ``host:port`` of the server's gRPC service.
        options: time limits, retries, concurrency.

    Example:
        >>> async with AsyncStudio("localhost:8001") as studio:
        ...     cup = await studio.cut_out("cup.jpg", boxes=[(74, 14, 484, 390)])
        ...     shots = await studio.shoot(Placement(cup), (512, 512), "a cup on a beach")
    """

    def __init__(self, server: str, options: Options = Options()) -> None:  # noqa: B008 (frozen)
        self._transport = Transport(server, options)
        self._options = options

    async def __aenter__(self) -> AsyncStudio:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection."""
        await self._transport.close()

    async def family(self) -> Family:
        """What the server's checkpoints fix: legal canvas sizes, number of ControlNets, …"""
        return await self._transport.family()

    async def artifacts(self) -> str:
        """SHA-256 of the server's artifacts, and ``-bf16`` if it was started so.

        With another one, the same request gives other pictures.
        """
        return await self._transport.artifacts()

    async def cut_out(
        self,
        photo: PhotoSource,
        points: Points | None = None,
        labels: Labels | None = None,
        boxes: Boxes | None = None,
    ) -> Cutout:
        """Cut a product out of a photo.

        Several boxes are the parts of one product: each is a prompt of its own (with the points
        inside it, and those outside every box), and the masks are united. The server keeps a photo's
        embedding, so further prompts on the same photo are quick.

        Args:
            photo: see :func:`packshot.load_photo`.
            points: [N, 2], x, y in pixels of the upright photo.
            labels: [N], 1 on the product, 0 on the background; all 1 if left out.
            boxes: [M, 4], x0, y0, x1, y1 in pixels of the upright photo.

        Returns:
            The mask with the best predicted IoU; the others are its ``alternatives``. Masks without
            a single pixel are left out.

        Raises:
            InvalidArgument: the photo or the prompt is wrong, or SAM finds nothing there.
            Unavailable, DeadlineExceeded, InternalError: see :mod:`packshot.errors`.
        """
        loaded = await asyncio.to_thread(load_photo, photo)
        letterbox = Letterbox(*loaded.size, side=(await self.family()).dims["S"])
        prompts = sam_prompts(letterbox, points, labels, boxes)
        square = await asyncio.to_thread(letterbox.fit, loaded.image)
        size = np.array(letterbox.reshaped_input_size, np.int64)
        answers = [await self.segment(square, size, prompts[0])]
        # The first answer leaves the embedding in the server's cache, where the others find it.
        others = [self.segment(square, size, prompt) for prompt in prompts[1:]]
        answers += await gathered(others, self._options.max_in_flight)
        return await asyncio.to_thread(best_cutout, loaded, letterbox, answers)

    async def segment(
        self, image: np.ndarray, reshaped_input_size: np.ndarray, prompt: SamPrompt
    ) -> tuple[np.ndarray, np.ndarray]:
        """Ask SAM itself.

        Args:
            image: uint8 [S, S, 3], the photo letterboxed.
            reshaped_input_size: int64 [2], height and width of the photo in the square.
            prompt: points in pixels of the square.

        Returns:
            low_res_masks float32 [3, 4s, 4s] (logits) and iou_predictions float32 [3].
        """
        arrays = {
            "image": image,
            "reshaped_input_size": reshaped_input_size,
            "point_coords": prompt.point_coords,
            "point_labels": prompt.point_labels,
        }
        answer = await self._transport.infer("segment", arrays)
        return answer["low_res_masks"], answer["iou_predictions"]

    async def shoot(
        self,
        placements: Placement | Sequence[Placement] | Composition,
        canvas: tuple[int, int],
        prompt: str,
        negative_prompt: str = "",
        *,
        num_images: int = 1,
        seed: int | None = None,
        control_image: np.ndarray | None = None,
        priority: int = INTERACTIVE,
        progress: Progress | None = None,
        on_step: OnStep | None = None,
        preview_interval: int = 0,
        **parameters: Unpack[ParameterFields],
    ) -> list[Shot]:
        """Paint a scene around products.

        Args:
            placements: the products from back to front, or a ready composition.
            canvas: width and height in pixels; :meth:`family` tells which are legal.
            prompt: the scene.
            negative_prompt: what it should not show.
            num_images: how many pictures; picture i has the seed ``seed + i``.
            seed: 0 to 2^63 − 1; drawn at random if left out, and told in the answer.
            control_image: uint8 [H, W] or [K, H, W], instead of the composition's Canny edges.
            priority: 1 interactive, or 2 catalogue work, which lets others pass.
            progress: called with (pictures done, pictures in all, the shot) after each picture.
            on_step: called with each report of the server, about twenty a second for each picture.
            preview_interval: steps from preview to preview, if the server keeps up; 0 for none.
            **parameters: fields of :class:`packshot.Parameters`; those left out are what suits the family.

        Returns:
            The shots in the order of their seeds.

        Raises:
            InvalidArgument: something of the above is wrong; nothing was sent.
            Unavailable, DeadlineExceeded, InternalError: see :mod:`packshot.errors`. The first
                picture that fails ends the call; those under way are cancelled, also at the server,
                as all are when the call itself is.
        """
        check_settings(parameters)
        seeds = image_seeds(seed, num_images)
        texts = prompt_arrays(prompt, negative_prompt)
        check_priority(priority)
        interval = integer("preview_interval", preview_interval, 0, MAX_INFERENCE_STEPS)
        size = check_canvas(canvas)
        family = await self.family()
        how = family.parameters(parameters)
        began = time.perf_counter()
        composition = await asyncio.to_thread(_composed, placements, size, family)
        composed = time.perf_counter()
        if control_image is None:
            control_image = await asyncio.to_thread(canny, composition.image, alpha=composition.alpha)
        once_s = {"compose": composed - began, "canny": time.perf_counter() - composed}
        arrays = generate_arrays(
            composition.image, composition.mask_image, control_image, texts, how, priority, family.dims["K"]
        )
        if how.strength < 1:
            detected = time.perf_counter()
            arrays |= await self._encoded(arrays)
            once_s["encode"] = time.perf_counter() - detected
        done = 0

        async def one(image_seed: int) -> Shot:
            nonlocal done
            asked = time.perf_counter()
            picture, truncated = await self._generate(arrays, image_seed, on_step, interval)
            answered = time.perf_counter()
            pasted = paste_back(composition, picture)
            timings_s = {**once_s, "generate": answered - asked, "paste": time.perf_counter() - answered}
            shot = Shot(pasted, image_seed, prompt, negative_prompt, how, family.name, timings_s, truncated)
            done += 1
            if done == 1:
                warn_truncated(truncated)
            if progress is not None:
                progress(done, len(seeds), shot)
            return shot

        return await gathered([one(image_seed) for image_seed in seeds], self._options.max_in_flight)

    async def generate(
        self,
        image: np.ndarray,
        mask_image: np.ndarray,
        control_image: np.ndarray,
        prompt: str,
        negative_prompt: str = "",
        *,
        seed: int = 0,
        parameters: Parameters | None = None,
        latents: np.ndarray | None = None,
        priority: int = INTERACTIVE,
        on_step: OnStep | None = None,
        preview_interval: int = 0,
    ) -> np.ndarray:
        """Ask the server for a picture; nothing is pasted back. Cancelled, it is given up there too.

        Args:
            image: uint8 [H, W, 3], the products on the canvas.
            mask_image: uint8 [H, W], ≥ 128 where to paint.
            control_image: uint8 [H, W], the same for every ControlNet, or [K, H, W].
            prompt: the scene.
            negative_prompt: what it should not show.
            seed: of the noise.
            parameters: how to paint; None for what suits the family.
            latents: float32 [C, h, w], noise of unit variance to begin from; only what
                ``euler_ancestral`` adds after each step is the seed's then.
            priority: 1 interactive, or 2 catalogue work, which lets others pass.
            on_step: called with each report of the server, about twenty a second.
            preview_interval: steps from preview to preview, if the server keeps up; 0 for none.

        Returns:
            uint8 [H, W, 3].

        Warns:
            PromptTruncatedWarning: a prompt is longer than the text encoder reads.
        """
        if parameters is not None and not isinstance(parameters, Parameters):
            raise expected("parameters", type(parameters).__name__, "Parameters")
        texts = prompt_arrays(prompt, negative_prompt)
        check_seed(seed)
        check_priority(priority)
        interval = integer("preview_interval", preview_interval, 0, MAX_INFERENCE_STEPS)
        family = await self.family()
        how = parameters or family.parameters({})
        arrays = generate_arrays(image, mask_image, control_image, texts, how, priority, family.dims["K"])
        if latents is not None:
            arrays["latents"] = latents
        if how.strength < 1:
            arrays |= await self._encoded(arrays)
        picture, truncated = await self._generate(arrays, seed, on_step, interval)
        warn_truncated(truncated)
        return picture

    async def _encoded(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """``image_latents`` of the picture to start from; nobody is asked if the rest is wrong."""
        await self._transport.check("generate", arrays)
        image = arrays["image"]
        height, width, _ = image.shape
        (await self.family()).canvas.check(width, height, "generate.image")
        # Under a mask of zeros the masked image is the image.
        inputs = {"image": image, "mask_image": np.zeros((height, width), np.uint8)}
        answer = await self._transport.infer("vae_encoder", inputs)
        return {"image_latents": answer["masked_image_latents"]}

    async def _generate(
        self, arrays: dict[str, np.ndarray], seed: int, on_step: OnStep | None, preview_interval: int
    ) -> tuple[np.ndarray, tuple[int, int]]:
        """The picture, and how many tokens of each prompt were not read."""
        answer: dict[str, np.ndarray] = {}

        def take(outputs: dict[str, np.ndarray]) -> None:
            if "generated_image" in outputs:
                answer.update(outputs)
            elif on_step is not None:
                on_step(StepProgress.from_outputs(seed, outputs))

        asked = {
            **arrays,
            "seed": np.array([seed], np.int64),
            "preview_interval": np.array([preview_interval], np.int32),
        }
        await self._transport.stream("generate_stream", asked, take)
        if not answer:
            raise InternalError(f"{self._transport.server}: generate_stream ended without a picture")
        of_prompt, of_negative = map(int, answer["num_truncated_tokens"])
        return answer["generated_image"], (of_prompt, of_negative)


def _composed(
    placements: Placement | Sequence[Placement] | Composition, canvas: tuple[int, int], family: Family
) -> Composition:
    # Checked first: composing on a wrong size would be work for nothing.
    family.canvas.check(*canvas)
    if not isinstance(placements, Composition):
        return compose(placements, canvas)
    if placements.size != canvas:
        raise expected("canvas", f"{canvas}", f"{placements.size} like the composition")
    return placements
