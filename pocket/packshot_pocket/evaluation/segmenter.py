"""A SAM checkpoint that is asked as the client asks a served one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import SamModel

from packshot.sam_prompts import Letterbox, sam_prompts
from packshot_export.loading import quiet_libraries
from packshot_export.sam_graphs import SamDecoder, SamEncoder
from packshot_pocket.sam.model import IMAGE_MEAN, IMAGE_STD


@dataclass(frozen=True, slots=True)
class Answer:
    """SAM's three masks at the photo's resolution, best predicted IoU first.

    Attributes:
        masks: bool [3, H, W].
        iou_predictions: float32 [3].
    """

    masks: np.ndarray
    iou_predictions: np.ndarray

    def ious(self, truth: np.ndarray) -> np.ndarray:
        """True IoUs with a mask bool [H, W]: float64 [3]."""
        both = (self.masks & truth).sum(axis=(1, 2))
        return both / np.maximum((self.masks | truth).sum(axis=(1, 2)), 1)


class Segmenter:
    """A SAM checkpoint behind the client's prompts and the exported graphs' modules.

    Args:
        checkpoint: directory in transformers' format.
    """

    def __init__(self, checkpoint: Path) -> None:
        with quiet_libraries():
            sam = SamModel.from_pretrained(checkpoint, dtype=torch.float32).eval()
        self._encoder = SamEncoder(sam, IMAGE_MEAN, IMAGE_STD)
        self._decoder = SamDecoder(sam)
        self._side = sam.config.vision_config.image_size

    @torch.no_grad()
    def photo(self, image: np.ndarray) -> EmbeddedPhoto:
        """Embed a photo, uint8 [H, W, 3], once for any number of prompts."""
        letterbox = Letterbox(image.shape[1], image.shape[0], self._side)
        square = torch.from_numpy(letterbox.fit(image))[None]
        size = torch.tensor([letterbox.reshaped_input_size])
        return EmbeddedPhoto(letterbox, self._encoder(square, size)["image_embeddings"], self._decoder)


@dataclass(frozen=True, slots=True)
class EmbeddedPhoto:
    """A photo that answers prompts."""

    letterbox: Letterbox
    embedding: torch.Tensor
    decoder: SamDecoder

    @torch.no_grad()
    def ask(
        self,
        points: Sequence[tuple[float, float]] = (),
        labels: Sequence[int] | None = None,
        box: tuple[float, float, float, float] | None = None,
    ) -> Answer:
        """Masks for points and a box in pixels of the photo."""
        (prompt,) = sam_prompts(self.letterbox, list(points), labels, [box] if box else None)
        # Copies: the prompt's arrays are read-only, which torch warns of.
        coords = torch.from_numpy(prompt.point_coords.copy())[None]
        numbers = torch.from_numpy(prompt.point_labels.copy())[None]
        answer = self.decoder(self.embedding, coords, numbers)
        predictions = answer["iou_predictions"][0].numpy()
        order = np.argsort(-predictions, kind="stable")
        masks = [self.letterbox.to_photo(answer["low_res_masks"][0, rank].numpy()) > 0 for rank in order]
        return Answer(np.stack(masks), predictions[order])
