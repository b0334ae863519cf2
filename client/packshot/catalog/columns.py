"""The names of a manifest's columns: free, unless one is a known one misspelt."""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Iterable

from packshot.arrays import shown
from packshot.catalog.gate import Thresholds
from packshot.catalog.styles import OWN
from packshot.errors import expected

#: Every column that means something by itself.
KNOWN = (
    "sku", "photo", "mask", "points", "labels", "boxes", "style", "num_images", "seed", *OWN,
)  # fmt: skip
#: What is a column's name nowhere, and somebody may think so.
_ELSEWHERE = {
    **{field.name: f"it in the column gate, {{{field.name}: …}}" for field in dataclasses.fields(Thresholds)},
    "keep_best": "the option --keep-best",
    "layout": "its fields as columns of their own",
}
#: Of two names, the share of their letters that agree, above which one is the other misspelt.
_ALIKE = 0.9


def check_names(columns: Iterable[str], used: Iterable[str]) -> None:
    """Refuse a column that looks like a known one, and that nothing uses.

    Spreadsheets have many columns, and templates may use them all: names are free. But where somebody
    wrote ``guidance_scal`` or ``Num Images``, what he asked for would silently be left out.

    Args:
        columns: of a line.
        used: those of them that the line's templates use.

    Raises:
        InvalidArgument: there is one.
    """
    for name in sorted(set(columns) - set(KNOWN) - set(used), key=str):
        meant = _ELSEWHERE.get(name) or _meant(name)
        if meant is not None:
            raise expected(
                f"column {shown(name)}", "a name that nothing uses", f"{meant}, or a name less like it"
            )


@functools.lru_cache(maxsize=4096)
def _meant(name: str) -> str | None:
    """The known column that somebody may have meant."""
    # "photo_2" is another photo, not a slip of the finger.
    if any(letter.isdecimal() for letter in name):
        return None
    known = {_letters(each): each for each in KNOWN}
    found = difflib.get_close_matches(_letters(name), known, n=1, cutoff=_ALIKE)
    return known[found[0]] if found else None


def _letters(name: str) -> str:
    """Without capitals, spaces and signs, and of "box" and "boxes" the same."""
    return "".join(filter(str.isalpha, name.casefold())).rstrip("es")
