"""One picture that shows a whole shoot: photo, cut-out, edges and the shots, each with its prompt."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from packshot import Cutout, Shot

CELL_PX = 288
GAP_PX = 16
LABEL_PX = 44
LINE_LETTERS = 42
TITLE_PX = 64
INK, PAPER, FAINT = (32, 32, 36), (250, 250, 248), (120, 120, 126)


def contact_sheet(
    photo: np.ndarray, cutout: Cutout, canvas: np.ndarray, edges: np.ndarray, shots: Sequence[Shot]
) -> Image.Image:
    """Draw the sheet.

    Args:
        photo: uint8 [H, W, 3].
        cutout: the product.
        canvas: uint8 [H, W, 3], the product on grey.
        edges: uint8 [H, W], the control image.
        shots: the pictures.

    Returns:
        RGB: what went in on the first row, what came out on the second.
    """
    first = [
        ("photo", Image.fromarray(photo)),
        ("cut-out", on_checkerboard(cutout)),
        ("canvas", Image.fromarray(canvas)),
        ("edges (control image)", Image.fromarray(edges).convert("RGB")),
    ]
    second = [(shot.prompt, shot.to_pil()) for shot in shots]
    columns = max(len(first), len(second))
    width = columns * (CELL_PX + GAP_PX) + GAP_PX
    height = TITLE_PX + 2 * (CELL_PX + LABEL_PX + GAP_PX) + GAP_PX
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP_PX, 14), "One photo, one box, four prompts", INK, ImageFont.load_default(20))
    asked = shots[0].parameters
    line = f"{asked.num_inference_steps} steps {asked.scheduler}, guidance {asked.guidance_scale:g}, "
    line += f"ControlNet {asked.controlnet_conditioning_scale:g}, family {shots[0].family}"
    draw.text((GAP_PX, 42), line, FAINT, ImageFont.load_default(14))
    for row, cells in enumerate((first, second)):
        for column, (label, picture) in enumerate(cells):
            left = GAP_PX + column * (CELL_PX + GAP_PX)
            top = TITLE_PX + GAP_PX + row * (CELL_PX + LABEL_PX + GAP_PX)
            fitted = fit(picture)
            sheet.paste(fitted, (left + (CELL_PX - fitted.width) // 2, top + (CELL_PX - fitted.height) // 2))
            lines = "\n".join(textwrap.wrap(label, LINE_LETTERS))
            draw.multiline_text((left, top + CELL_PX + 6), lines, INK, ImageFont.load_default(14), spacing=3)
    return sheet


def fit(picture: Image.Image) -> Image.Image:
    """As large as a cell holds."""
    scale = CELL_PX / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.LANCZOS)


def on_checkerboard(cutout: Cutout, square_px: int = 16) -> Image.Image:
    """The product alone, on the pattern that stands for transparency."""
    x0, y0, x1, y1 = cutout.box
    product = cutout.to_pil().crop((x0, y0, x1, y1))
    rows, columns = np.indices((y1 - y0, x1 - x0)) // square_px
    board = np.where((rows + columns) % 2 == 0, 255, 204).astype(np.uint8)
    sheet = Image.fromarray(board).convert("RGB")
    sheet.paste(product, (0, 0), product)
    return sheet
