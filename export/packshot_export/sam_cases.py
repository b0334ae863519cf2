"""What ``transformers.SamModel`` and its image processor answer, one photo and one prompt at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import SamModel
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from packshot.contract import (
    LABEL_BACKGROUND,
    LABEL_BOX_BOTTOM_RIGHT,
    LABEL_BOX_TOP_LEFT,
    LABEL_FOREGROUND,
    LABEL_IGNORE,
    LABEL_NOT_A_POINT,
)
from packshot_export.cases import Case

_Points = list[tuple[float, float, int]]


def image_processor(config: Mapping[str, Any]) -> SamImageProcessorPil:
    """The checkpoint's image processor; SAM's usual one for an empty config."""
    # (A tuple only if asked for one.)
    return SamImageProcessorPil.from_dict(dict(config))  # pyright: ignore[reportReturnType]


def encoder_cases(sam: SamModel, processor: SamImageProcessorPil) -> Iterator[Case]:
    """Wide, tall and square photos, alone and together."""
    side = sam.config.vision_config.image_size
    generator = torch.Generator().manual_seed(1)
    for label, sizes in (
        ("a square photo", [(side, side)]),
        ("a wide and a tall photo", [(side * 5 // 8, side), (side, side * 3 // 8 + 1)]),
    ):
        image = torch.randint(0, 256, (len(sizes), side, side, 3), generator=generator, dtype=torch.uint8)
        answers = []
        for square, (height, width) in zip(image, sizes, strict=True):
            photo = square[:height, :width].numpy()
            pixel_values = processor(photo, return_tensors="pt")["pixel_values"]
            answers.append(sam.get_image_embeddings(pixel_values))
        yield Case(
            label,
            {"image": image, "reshaped_input_size": torch.tensor(sizes)},
            {"image_embeddings": torch.cat(answers)},
        )


def decoder_cases(sam: SamModel) -> Iterator[Case]:
    """Points, boxes, both, and padding; two photos with a prompt each."""
    side = float(sam.config.vision_config.image_size)
    a, b, c = (0.2 * side, 0.3 * side), (0.6 * side, 0.55 * side), (0.9 * side, 0.1 * side)
    end: _Points = [(0.0, 0.0, LABEL_NOT_A_POINT)]
    for label, prompts in (
        ("one point", [[(*a, LABEL_FOREGROUND), *end]]),
        (
            "three points, and two with padding",
            [
                [(*a, LABEL_FOREGROUND), (*b, LABEL_FOREGROUND), (*c, LABEL_BACKGROUND), *end],
                [(*b, LABEL_FOREGROUND), (*a, LABEL_BACKGROUND), (0.0, 0.0, LABEL_IGNORE), *end],
            ],
        ),
        ("a box each", [[*_box(a, b)], [*_box(b, c)]]),
        (
            "a point and a box each",
            [[(*b, LABEL_FOREGROUND), *_box(a, c)], [(*c, LABEL_BACKGROUND), *_box(a, b)]],
        ),
    ):
        yield _decoder_case(sam, label, prompts)


def _box(first: tuple[float, float], second: tuple[float, float]) -> _Points:
    xs, ys = sorted((first[0], second[0])), sorted((first[1], second[1]))
    return [(xs[0], ys[0], LABEL_BOX_TOP_LEFT), (xs[1], ys[1], LABEL_BOX_BOTTOM_RIGHT)]


def _decoder_case(sam: SamModel, label: str, prompts: list[_Points]) -> Case:
    config = sam.config
    size = config.prompt_encoder_config.image_embedding_size
    generator = torch.Generator().manual_seed(2)
    embeddings = torch.randn(
        (len(prompts), config.vision_config.output_channels, size, size), generator=generator
    )
    answers = [_one(sam, embedding, prompt) for embedding, prompt in zip(embeddings, prompts, strict=True)]
    return Case(
        label,
        {
            "image_embeddings": embeddings,
            "point_coords": torch.tensor([[[x, y] for x, y, _ in prompt] for prompt in prompts]),
            "point_labels": torch.tensor([[number for *_, number in prompt] for prompt in prompts]),
        },
        {
            "low_res_masks": torch.cat([masks for masks, _ in answers]),
            "iou_predictions": torch.cat([ious for _, ious in answers]),
        },
    )


def _one(sam: SamModel, embedding: Tensor, prompt: _Points) -> tuple[Tensor, Tensor]:
    """Ask the original model, in its own words: points, boxes; it ends prompts without a box itself."""
    corners = [(x, y) for x, y, label in prompt if label in (LABEL_BOX_TOP_LEFT, LABEL_BOX_BOTTOM_RIGHT)]
    points = [point for point in prompt if point[2] in (LABEL_BACKGROUND, LABEL_FOREGROUND, LABEL_IGNORE)]
    arguments: dict[str, Tensor] = {}
    if points:
        arguments["input_points"] = torch.tensor([[[[x, y] for x, y, _ in points]]])
        arguments["input_labels"] = torch.tensor([[[label for *_, label in points]]])
    if corners:
        arguments["input_boxes"] = torch.tensor([[[*corners[0], *corners[1]]]])
    output = sam(image_embeddings=embedding[None], multimask_output=True, **arguments)
    return output.pred_masks[:, 0], output.iou_scores[:, 0]
