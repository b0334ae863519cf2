"""Contact sheets: pictures at full size, side by side, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw

_GAP, _LINE = 4, 14


def write_sheet(
    path: Path, rows: Sequence[Sequence[np.ndarray]], titles: Sequence[str], captions: Sequence[str] = ()
) -> None:
    """Write pictures of one size as a PNG.

    Args:
        path: of the file.
        rows: uint8 [H, W, 3] each; every row has as many.
        titles: of the columns.
        captions: of the rows, cut off at their width.
    """
    height, width = rows[0][0].shape[:2]
    columns = len(rows[0])
    pitch = height + _GAP + (_LINE if captions else 0)
    sheet = Image.new("RGB", (columns * (width + _GAP) + _GAP, _LINE + _GAP + len(rows) * pitch), "white")
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        draw.text((_GAP + column * (width + _GAP), 2), title, fill="black")
    for number, row in enumerate(rows):
        top = _LINE + _GAP + number * pitch
        for column, picture in enumerate(row):
            sheet.paste(Image.fromarray(picture), (_GAP + column * (width + _GAP), top))
        if captions:
            # 6 pixels a letter, in the font that Pillow always has.
            room = columns * (width + _GAP) // 6
            draw.text((_GAP, top + height + 1), captions[number][:room], fill="black")
    sheet.save(path)


def write_sheets(
    directory: Path,
    name: str,
    rows: Sequence[Sequence[np.ndarray]],
    titles: Sequence[str],
    captions: Sequence[str] = (),
    rows_each: int = 8,
) -> None:
    """Write as many sheets as it takes: ``NAME-1.png`` and so on."""
    for number, start in enumerate(range(0, len(rows), rows_each), 1):
        end = start + rows_each
        write_sheet(directory / f"{name}-{number}.png", rows[start:end], titles, captions[start:end])


def outlined(image: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int] = (0, 255, 0)) -> np.ndarray:
    """A picture with a mask's outline on it: uint8 [H, W, 3]."""
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(image.copy(), found, -1, colour, 1)
