"""The client for code that is not asynchronous."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from concurrent.futures import CancelledError
from types import TracebackType
from typing import Any, TypeVar, Unpack

import numpy as np

from packshot.canvas import Composition, Placement
from packshot.cutout import Cutout
from packshot.errors import InvalidArgument, Unavailable, expected
from packshot.family import Family
from packshot.options import Options
from packshot.parameters import INTERACTIVE, Parameters
from packshot.photo import PhotoSource
from packshot.progress import OnStep
from packshot.sam_prompts import Boxes, Labels, Points, SamPrompt
from packshot.shot import ParameterFields, Shot
from packshot.studio import AsyncStudio, Progress

Result = TypeVar("Result")


class Studio:
    """A client of one packshot server: :class:`AsyncStudio`, run by a thread of its own.

    Its methods may be called from several threads. A KeyboardInterrupt cancels the call, also at
    the server. ``progress`` and ``on_step`` are called in the client's own thread.

    Args:
        server: ``host:port`` of the server's gRPC service.
        options: time limits, retries, concurrency.

    Example:
        >>> with Studio("localhost:8001") as studio:
        ...     cup = studio.cut_out("cup.jpg", boxes=[(74, 14, 484, 390)])
        ...     shots = studio.shoot(Placement(cup), (512, 512), "a cup on a beach", num_images=4)
        >>> shots[0].save("beach.png")
    """

    def __init__(self, server: str, options: Options = Options()) -> None:  # noqa: B008 (frozen)
        self._studio = AsyncStudio(server, options)
        self._loop = asyncio.new_event_loop()
        # A daemon, so that a studio that nobody closed does not keep the program from ending.
        self._thread = threading.Thread(target=self._serve, name="packshot", daemon=True)
        self._thread.start()
        self._closed = False
        #: Held while a call is handed to the loop, so that none comes after the one that ends it.
        self._handing_over = threading.Lock()

    def __enter__(self) -> Studio:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection and end the thread; calls of other threads fail. Safe to call twice.

        Raises:
            InvalidArgument: a callback of this studio calls.
        """
        if refusal := self._refusal():
            raise refusal
        with self._handing_over:
            if self._closed:
                return
            self._closed = True
            ended = asyncio.run_coroutine_threadsafe(self._end(), self._loop)
        ended.result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def family(self) -> Family:
        """See :meth:`AsyncStudio.family`."""
        return self._run(self._studio.family())

    def artifacts(self) -> str:
        """See :meth:`AsyncStudio.artifacts`."""
        return self._run(self._studio.artifacts())

    def cut_out(
        self,
        photo: PhotoSource,
        points: Points | None = None,
        labels: Labels | None = None,
        boxes: Boxes | None = None,
    ) -> Cutout:
        """See :meth:`AsyncStudio.cut_out`."""
        return self._run(self._studio.cut_out(photo, points, labels, boxes))

    def segment(
        self, image: np.ndarray, reshaped_input_size: np.ndarray, prompt: SamPrompt
    ) -> tuple[np.ndarray, np.ndarray]:
        """See :meth:`AsyncStudio.segment`."""
        return self._run(self._studio.segment(image, reshaped_input_size, prompt))

    def shoot(
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
        """See :meth:`AsyncStudio.shoot`."""
        return self._run(
            self._studio.shoot(
                placements,
                canvas,
                prompt,
                negative_prompt,
                num_images=num_images,
                seed=seed,
                control_image=control_image,
                priority=priority,
                progress=progress,
                on_step=on_step,
                preview_interval=preview_interval,
                **parameters,
            )
        )

    def generate(
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
        """See :meth:`AsyncStudio.generate`."""
        return self._run(
            self._studio.generate(
                image,
                mask_image,
                control_image,
                prompt,
                negative_prompt,
                seed=seed,
                parameters=parameters,
                latents=latents,
                priority=priority,
                on_step=on_step,
                preview_interval=preview_interval,
            )
        )

    def _serve(self) -> None:
        while True:
            try:
                return self._loop.run_forever()
            except (KeyboardInterrupt, SystemExit):
                # A progress callback's, say. asyncio stops the loop, but the call has it too: going on
                # hands it to the caller, who would wait for ever otherwise.
                continue

    async def _end(self) -> None:
        await self._studio.close()
        calls = asyncio.all_tasks() - {asyncio.current_task()}
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await self._loop.shutdown_default_executor()

    def _refusal(self) -> InvalidArgument | None:
        """Of a callback, which runs in the loop's own thread: that would wait for itself."""
        if threading.current_thread() is not self._thread:
            return None
        return expected("studio", "a call by one of its own callbacks", "one from elsewhere, or AsyncStudio")

    def _run(self, call: Coroutine[Any, Any, Result]) -> Result:
        if refusal := self._refusal():
            call.close()
            raise refusal
        with self._handing_over:
            if self._closed:
                call.close()
                raise Unavailable("this studio is closed")
            future = asyncio.run_coroutine_threadsafe(call, self._loop)
        try:
            return future.result()
        except CancelledError:
            # By close, in another thread.
            raise Unavailable("this studio is closed") from None
        except BaseException:
            # KeyboardInterrupt arrives here, in the caller's thread, while the call is still running.
            future.cancel()
            raise
