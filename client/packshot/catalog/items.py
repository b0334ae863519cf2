"""What a manifest asks for: its lines, checked; every mistake is found before any work."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image

from packshot.arrays import shown
from packshot.catalog.columns import check_names
from packshot.catalog.lines import Line, read_lines
from packshot.catalog.styles import DEFAULT_STYLE, OWN, PARAMETERS, Style, template_columns
from packshot.checks import integer
from packshot.decoding import check_size, decoding, opened
from packshot.errors import InvalidArgument, expected
from packshot.generation import MAX_NUM_IMAGES, image_seeds
from packshot.parameters import check_seed
from packshot.sam_prompts import SamArguments, check_prompt

#: Columns that hold numbers, which CSV writes as text.
_NUMBERS = {
    "num_images", "seed", "padding", "fill", *(set(PARAMETERS) - {"scheduler"}),
}  # fmt: skip
#: Those of them that hold whole ones, which tables with gaps write as 3.0.
_WHOLE = {"num_images", "seed", "num_inference_steps"}
#: EXIF orientations that turn a photo on its side.
_ON_ITS_SIDE = (5, 6, 7, 8)
_EXIF_ORIENTATION = 0x0112
#: Of a sku as a file name; names may have 255 bytes, and a seed and a suffix follow.
_MAX_NAME = 150
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Item:
    """A product, and what is asked for it.

    Attributes:
        line: number of the manifest's line.
        sku: its name, unique in the manifest.
        photo: of the product, or a picture of it with transparency.
        mask: a picture whose bright pixels are the product, as large as the photo; or None.
        points, labels, boxes: a prompt for SAM, as :meth:`packshot.Studio.cut_out` takes it; all
            empty for the salient object.
        style: how its pictures shall look.
        seeds: of its pictures.
    """

    line: int
    sku: str
    photo: Path
    mask: Path | None
    points: tuple[tuple[float, ...], ...]
    labels: tuple[int, ...]
    boxes: tuple[tuple[float, ...], ...]
    style: Style
    seeds: tuple[int, ...]

    @property
    def name(self) -> str:
        """The sku as the name of a file or folder: what is special in file systems is %-written."""
        return file_name(self.sku)

    @property
    def prompt(self) -> SamArguments:
        """For SAM; all empty if there is none."""
        return {
            "points": [list(point) for point in self.points],
            "labels": list(self.labels),
            "boxes": [list(box) for box in self.boxes],
        }


@dataclass(frozen=True, slots=True)
class Problem:
    """A mistake in a manifest.

    Attributes:
        line: its number.
        sku: of the line, if it has one.
        message: column, value and what was expected.
    """

    line: int
    sku: str | None
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}"


class Reader:
    """Reads a manifest, from the beginning each time it is iterated over.

    Args:
        manifest: the file; relative paths in it are relative to its folder.
        styles: by name.
    """

    def __init__(self, manifest: Path, styles: Mapping[str, Style]) -> None:
        self.manifest, self.styles = manifest, styles

    def __iter__(self) -> Iterator[Item | list[Problem]]:
        """The manifest's items, or what is wrong with a line."""
        seen: dict[bytes, int] = {}
        for line in read_lines(self.manifest):
            item, problems = self._read(line)
            # File systems may take "A1" and "a1" for one name, so skus have to differ by more.
            sku = _text(line.values.get("sku"))
            if isinstance(sku, str) and sku.strip():
                digest = hashlib.blake2b(sku.casefold().encode(errors="replace"), digest_size=16).digest()
                first = seen.setdefault(digest, line.number)
                if first != line.number:
                    what = f"another sku than line {first}'s (capitals count as small letters)"
                    problems.append(Problem(line.number, sku, str(expected("sku", shown(sku), what))))
            yield problems if problems or item is None else item

    def _read(self, line: Line) -> tuple[Item | None, list[Problem]]:
        if line.problem is not None:
            return None, [Problem(line.number, None, line.problem)]
        sku = _text(line.values.get("sku"))
        found: dict[str, Any] = {}
        problems: list[Problem] = []

        def take(column: str, parse: Callable[[], Any]) -> None:
            try:
                found[column] = parse()
            except InvalidArgument as error:
                problems.append(Problem(line.number, sku if isinstance(sku, str) else None, str(error)))

        values = {name: _plain(name, value) for name, value in line.values.items()}
        take("sku", lambda: _sku(sku))
        take("photo", lambda: self._photo("photo", values.get("photo")))
        take("style", lambda: self._style(values))
        take("names", lambda: check_names(values, self._used(values)))
        take("seeds", lambda: _seeds(values))
        if "style" in found and "seeds" in found:
            take("num_images", lambda: _check_count(found["style"], found["seeds"]))
        if "photo" in found:
            size = found["photo"][1]
            take("prompt", lambda: _prompt(values, size))
            take("mask", lambda: self._mask(values.get("mask"), size))
        if problems:
            return None, problems
        points, labels, boxes = found["prompt"]
        return Item(
            line.number, found["sku"], found["photo"][0], found["mask"], points, labels, boxes,
            found["style"], found["seeds"],
        ), []  # fmt: skip

    def _photo(self, column: str, value: object) -> tuple[Path, tuple[int, int]]:
        """A picture's path and its upright width and height; its pixels are not decoded."""
        if not isinstance(value, str) or not value.strip() or "\0" in value:
            raise expected(column, shown(value) if value is not None else "nothing", "a path to a picture")
        path = self.manifest.parent / value
        what = f"{column} {value}"
        with decoding(what), opened(path) as image:
            width, height = image.size
            check_size(what, width, height)
            # The size of a TIFF is upright already. PNG has a getexif of its own, which decodes the pixels.
            orientation = Image.Image.getexif(image).get(_EXIF_ORIENTATION)
            on_its_side = orientation in _ON_ITS_SIDE and image.format != "TIFF"
        return path, (height, width) if on_its_side else (width, height)

    def _mask(self, value: object, size: tuple[int, int]) -> Path | None:
        if value is None:
            return None
        path, found = self._photo("mask", value)
        if found != size:
            raise expected(f"mask {value}", "{}x{}".format(*found), "{}x{} like the photo".format(*size))
        return path

    def _named(self, values: Mapping[str, Any]) -> Style | None:
        name = values.get("style", DEFAULT_STYLE)
        return self.styles.get(name) if isinstance(name, str) else None

    def _style(self, values: Mapping[str, Any]) -> Style:
        style = self._named(values)
        known = f"one of {', '.join(self.styles)}" if self.styles else "a file of styles"
        own = {key: value for key, value in values.items() if key in OWN}
        if style is None and "style" not in values:
            # No style at all: the line has to say what it wants.
            if not own.keys() & {"prompt", "background_color", "preset"}:
                raise expected("style", "nothing", f"{known}, or a prompt")
            style = Style(prompt="")
        if style is None:
            raise expected("style", shown(values["style"]), known)
        return style.of_line(own, values)

    def _used(self, values: Mapping[str, Any]) -> set[str]:
        """The columns that a line's templates use, as far as they can be read."""
        style = self._named(values)
        used = set() if style is None else style.columns
        for name in ("prompt", "negative_prompt"):
            with contextlib.suppress(InvalidArgument):
                used |= template_columns(name, str(values.get(name, "")))
        return used


def file_name(sku: str) -> str:
    """A sku as the name of a file: letters, digits, ``_-~`` and inner dots; the rest is %-written.

    So is the first letter of names that mean a device on Windows, whose shares catalogues end up on.
    """
    name = quote(sku, safe="")
    if name.startswith(".") or _DEVICE.fullmatch(name):
        name = f"%{ord(name[0]):02X}{name[1:]}"
    return f"{name[:-1]}%2E" if name.endswith(".") else name


def _text(sku: object) -> object:
    """Numbers are names, too."""
    return str(sku) if isinstance(sku, int) and not isinstance(sku, bool) else sku


def _sku(value: object) -> str:
    form = f"text, at most {_MAX_NAME} characters as a file name"
    if not isinstance(value, str) or not value.strip():
        raise expected("sku", shown(value) if value is not None else "nothing", form)
    try:
        name = file_name(value)
    except UnicodeEncodeError:
        raise expected("sku", shown(value), "text in Unicode") from None
    if len(name) > _MAX_NAME:
        raise expected("sku", shown(value), form)
    return value


def _seeds(values: Mapping[str, Any]) -> tuple[int, ...]:
    """The seeds of a line's pictures; without one, from its sku: the same in every run."""
    count = integer("num_images", values.get("num_images", 1), 1, MAX_NUM_IMAGES)
    seed = values.get("seed")
    if seed is None:
        digest = hashlib.blake2b(str(values.get("sku")).encode(errors="replace"), digest_size=4).digest()
        # Short enough to be read out, and room for the seeds after it.
        seed = int.from_bytes(digest) >> 1
    return tuple(image_seeds(check_seed(seed), count))


def _check_count(style: Style, seeds: tuple[int, ...]) -> None:
    """On a plain background all pictures of a product would be the same."""
    if style.background is not None and len(seeds) > 1:
        raise expected("num_images", len(seeds), "1: a plain background is the same for every seed")


def _prompt(values: Mapping[str, Any], size: tuple[int, int]) -> tuple[Any, Any, Any]:
    """points, labels and boxes, all empty if there are none."""
    given = {name: values.get(name) for name in ("points", "labels", "boxes")}
    if given["labels"] is not None and given["points"] is None:
        raise expected("labels", shown(given["labels"]), "points, too")
    if given["points"] is None and given["boxes"] is None:
        return (), (), ()
    if values.get("mask") is not None:
        what = " and ".join(name for name in ("points", "boxes") if given[name] is not None)
        raise expected("mask", f"one, and {what}", "a mask, or a prompt for SAM")
    check_prompt(size, **given)
    # Of an empty list of nothing, nothing is left.
    points = [tuple(float(v) for v in point) for point in given["points"] or () if point]
    labels = given["labels"] if given["labels"] is not None else [1] * len(points)
    boxes = [tuple(float(v) for v in box) for box in given["boxes"] or () if box]
    return tuple(points), tuple(int(label) for label in labels), tuple(boxes)


def _plain(column: str, value: Any) -> Any:
    """A number that a table wrote in its own way; all else stays, for whoever checks it."""
    if column in _NUMBERS and isinstance(value, str):
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(value)
    if column in _NUMBERS and isinstance(value, Decimal):
        value = float(value)
    if column in _WHOLE and isinstance(value, float) and value.is_integer():
        return int(value)
    return value
