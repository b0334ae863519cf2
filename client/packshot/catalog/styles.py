"""Styles: named templates of how pictures shall look, in a YAML file.

::

    styles:
      beach:
        prompt: "a {colour} {name} on a sunny beach"
        negative_prompt: people
        aspect_ratio: "4:5"
        padding: 0.12
        parameters: {num_inference_steps: 25, guidance_scale: 7.5}
        gate: {min_edge_f1_rim: 0.4}
      shop:
        preset: amazon-main
"""

from __future__ import annotations

import dataclasses
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from packshot.arrays import shown
from packshot.canvas import check_canvas
from packshot.catalog.gate import Thresholds
from packshot.catalog.layout import Layout, aspect_ratio
from packshot.catalog.presets import PRESETS, Preset
from packshot.catalog.shadows import Shadow
from packshot.catalog.yaml_file import read_yaml
from packshot.errors import InvalidArgument, expected
from packshot.parameters import Parameters

Format = Literal["png", "jpeg", "webp"]
#: Fields of a style that have a mapping of fields of their own.
_GROUPS: dict[str, Any] = {"parameters": Parameters, "gate": Thresholds}
#: Fields that lie in the style's layout.
_LAYOUT = tuple(f.name for f in dataclasses.fields(Layout))
#: Used if a line names no style and the file has one of this name, or there is no file.
DEFAULT_STYLE = "default"
#: How far the finished picture's shape may be from the canvas'.
_MAX_STRETCH = 0.02
_MAX_WEBP_PX = 16_383
#: What else could not but fail a market's rule: shadows are grey, and lossy files bleed into the white.
_WHITE = {"background_color": "#ffffff", "shadow": "none", "output_format": "png"}
#: What may stand in a template's braces; spreadsheets have spaces in their headings.
_COLUMN = re.compile(r"[^\W\d][\w -]*")


@dataclass(frozen=True, slots=True)
class Style:
    """How pictures shall look.

    Attributes:
        prompt: of the scene, with ``{column}`` for a value of the manifest's line. None for no scene:
            then ``background_color`` is all there is.
        negative_prompt: what the scene shall not show; a template, too.
        canvas: width and height in pixels of what is painted; None for one of ``aspect_ratio``.
        aspect_ratio: ``"W:H"`` of a canvas of about as many pixels as the family was trained on.
        layout: where the product stands; its fields are written as the style's own.
        background_color: ``#rrggbb`` of a plain background, instead of a prompt.
        shadow: ``none`` or ``soft``, under the product on a plain background.
        output_size: width and height in pixels of the finished picture; the product is taken from its
            photo at this size. None for the canvas.
        output_format: ``png``, ``jpeg`` or ``webp``.
        parameters: how to paint: fields of :class:`packshot.Parameters` by name. Those left out are what
            suits the server's family.
        gate: what a picture must pass to be delivered.
        preset: name of the market whose rules the finished file must pass, see
            :mod:`packshot.catalog.presets`; None for no such rules.

    Raises:
        InvalidArgument: a value is wrong, or they do not fit together.
    """

    prompt: str | None = None
    negative_prompt: str = ""
    canvas: tuple[int, int] | None = None
    aspect_ratio: str = "1:1"
    layout: Layout = Layout()  # noqa: RUF009 (frozen)
    background_color: str | None = None
    shadow: Shadow = "none"
    output_size: tuple[int, int] | None = None
    output_format: Format = "png"
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    gate: Thresholds = Thresholds()  # noqa: RUF009 (frozen)
    preset: str | None = None

    def __post_init__(self) -> None:
        for name in ("prompt", "negative_prompt"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise expected(name, shown(value), "text")
        if (self.prompt is None) == (self.background_color is None):
            got = "neither of them" if self.prompt is None else "both"
            raise expected("prompt and background_color", got, "one of them")
        for name in ("canvas", "output_size"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _size(name, value))
        # Refuses what no family could follow; and 5 is 5.0, whoever wrote it.
        full = Parameters(**self.parameters).as_dict()
        object.__setattr__(self, "parameters", {name: full[name] for name in self.parameters})
        aspect_ratio(self.aspect_ratio)
        if self.background_color is not None:
            rgb(self.background_color)
        if self.canvas and self.output_size and _stretched(self.canvas, self.output_size):
            got = "{}x{}".format(*self.output_size)
            raise expected("output_size", got, "the shape of the canvas {}x{}".format(*self.canvas))
        for name, choices in (("shadow", get_args(Shadow)), ("output_format", get_args(Format))):
            if getattr(self, name) not in choices:
                raise expected(name, shown(getattr(self, name)), f"one of {', '.join(choices)}")
        if self.preset is not None:
            _preset(self.preset)
            for name, needed in _WHITE.items():
                got = getattr(self, name)
                if got is None or got.lower() != needed:
                    raise expected(name, shown(got), f"{needed}, as {self.preset} wants pure white")
        sides = self.output_size or self.canvas or (1, 1)
        if self.output_format == "webp" and max(sides) > _MAX_WEBP_PX:
            got = "webp of {}x{}".format(*sides)
            raise expected("output_format", got, f"sides of at most {_MAX_WEBP_PX} pixels, or another format")

    @property
    def background(self) -> tuple[int, int, int] | None:
        """The plain background's red, green and blue, 0 to 255."""
        return None if self.background_color is None else rgb(self.background_color)

    @property
    def columns(self) -> set[str]:
        """The columns that the templates need."""
        texts = {"prompt": self.prompt or "", "negative_prompt": self.negative_prompt}
        return {column for name, text in texts.items() for column in template_columns(name, text)}

    def of_line(self, own: Mapping[str, Any], columns: Mapping[str, Any]) -> Style:
        """The style with a line's own values, its templates filled in.

        Args:
            own: fields of the style, its layout or its parameters that the line sets itself.
            columns: everything on the line.

        Raises:
            InvalidArgument: a value is wrong, or a template needs a column that the line leaves empty.
        """
        style = changed(self, own)
        missing = sorted(style.columns - set(columns))
        if missing:
            got = f"no value in column {', '.join(map(repr, missing))}"
            raise expected("prompt", got, "one, as the style's text needs it")
        filled = {name: getattr(style, name) for name in ("prompt", "negative_prompt")}
        filled = {name: None if text is None else text.format_map(columns) for name, text in filled.items()}
        return dataclasses.replace(style, **filled)


#: What a style has, besides its groups.
FIELDS = tuple(f.name for f in dataclasses.fields(Style) if f.name not in ("layout", *_GROUPS)) + _LAYOUT
PARAMETERS = tuple(f.name for f in dataclasses.fields(Parameters))
#: All that a style has names for; a line may set it itself.
OWN = (*FIELDS, *_GROUPS, *PARAMETERS)


def changed(style: Style, values: Mapping[str, Any]) -> Style:
    """A style with other values.

    Args:
        values: fields of :class:`Style`, :class:`Layout` or :class:`Parameters` by name, or
            ``parameters`` and ``gate`` as mappings.

    Raises:
        InvalidArgument: a name is unknown or a value is wrong.
    """
    preset = values.get("preset")
    if preset is not None:
        values = {**_preset(preset).style, **values}
    plain: dict[str, Any] = {}
    groups: dict[str, dict[str, Any]] = {"layout": {}, **{name: {} for name in _GROUPS}}
    for name, value in values.items():
        if name in _GROUPS:
            if not isinstance(value, Mapping):
                raise expected(name, shown(value), "names with values")
            groups[name] |= _known(f"{name} of a style", value, _GROUPS[name])
        elif name in _LAYOUT:
            groups["layout"][name] = value
        elif name in PARAMETERS:
            groups["parameters"][name] = value
        elif name in FIELDS:
            plain[name] = value
        else:
            raise expected("style", shown(name), f"some of {', '.join((*FIELDS, *_GROUPS))}")
    # A plain background in place of a scene, or the other way round, needs no word that the other goes.
    for this, other in (("prompt", "background_color"), ("background_color", "prompt")):
        if plain.get(this) is not None and other not in plain:
            plain[other] = None
    plain["parameters"] = {**style.parameters, **groups.pop("parameters")}
    for name, fields in groups.items():
        if fields:
            plain[name] = dataclasses.replace(getattr(style, name), **fields)
    return dataclasses.replace(style, **plain)


def load_styles(path: Path) -> dict[str, Style]:
    """Read a file of styles.

    Raises:
        InvalidArgument: it cannot be read, or a style is wrong; all wrong ones are named.
    """
    document = read_yaml("styles", path)
    named = document.get("styles") if isinstance(document, Mapping) else None
    if not isinstance(named, Mapping) or not named:
        raise expected("styles", f"{path} without any", "a mapping 'styles' of names to styles")
    styles: dict[str, Style] = {}
    problems: list[str] = []
    for name, values in named.items():
        try:
            styles[str(name)] = _style(values)
        except InvalidArgument as error:
            problems.append(f"style {name}: {error}")
    if problems:
        raise InvalidArgument(f"{path}: " + "; ".join(problems))
    return styles


def _style(values: Any) -> Style:
    if not isinstance(values, Mapping):
        raise expected("style", shown(values), "names with values")
    style = changed(Style(prompt=""), values)
    if not style.prompt and style.background_color is None:
        form = 'one of them; "#rrggbb" needs its quotes in YAML'
        raise expected("prompt and background_color", "neither of them", form)
    style.columns  # noqa: B018 (a broken template is found here)
    return style


def _preset(name: object) -> Preset:
    if not isinstance(name, str) or name not in PRESETS:
        raise expected("preset", shown(name), f"one of {', '.join(PRESETS)}")
    return PRESETS[name]


def rgb(text: object) -> tuple[int, int, int]:
    """``"#ff8800"`` as red, green and blue, 0 to 255."""
    digits = text[1:] if isinstance(text, str) and text.startswith("#") else ""
    if len(digits) != 6 or not all(digit in string.hexdigits for digit in digits):
        raise expected("background_color", shown(text), "#rrggbb")
    red, green, blue = bytes.fromhex(digits)
    return red, green, blue


def _size(name: str, value: object) -> tuple[int, int]:
    """``[W, H]`` or ``"WxH"``."""
    if isinstance(value, str):
        value = [int(side) if side.isdecimal() else side for side in value.lower().split("x")]
    try:
        return check_canvas(value)  # type: ignore[arg-type]
    except InvalidArgument as error:
        raise InvalidArgument(str(error).replace("canvas", name, 1)) from None


def _stretched(canvas: tuple[int, int], size: tuple[int, int]) -> bool:
    return abs(size[0] * canvas[1] / (size[1] * canvas[0]) - 1) > _MAX_STRETCH


def _known(what: str, values: Mapping[Any, Any], kind: Any) -> dict[str, Any]:
    names = [f.name for f in dataclasses.fields(kind)]
    for name in values:
        if name not in names:
            raise expected(what, shown(name), f"some of {', '.join(names)}")
    return {str(name): tuple(v) if isinstance(v, list) else v for name, v in values.items()}


def template_columns(name: str, template: str) -> set[str]:
    """The names in a template's braces.

    Raises:
        InvalidArgument: the braces do not match, or there is something else in them.
    """
    try:
        parts = [part[1:] for part in string.Formatter().parse(template) if part[1] is not None]
        # With a format or a conversion it is no name any more, and refused below.
        found = [str(part[0]) + "".join(f":{rest}" for rest in part[1:] if rest) for part in parts]
    except ValueError as error:
        raise expected(name, f"{shown(template)} ({error})", "text with {column}") from None
    for column in found:
        if not _COLUMN.fullmatch(column):
            raise expected(name, f"{{{column}}}", "the name of a column in braces")
    return set(found)
