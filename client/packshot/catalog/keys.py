"""What makes a picture the same picture: a key of everything that goes into it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from packshot.catalog.items import Item
from packshot.family import sha256

#: To be raised when the client itself makes other pictures of the same inputs.
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of an item.

    Attributes:
        item: of all of it.
        cutout: of the product in its photo, whatever is painted round it.
        pictures: one for each seed.
        inputs: the hashes of the files that went in, by name.
        artifacts: of the server that has to make them.
    """

    item: str
    cutout: str
    pictures: tuple[str, ...]
    inputs: dict[str, str]
    artifacts: str


def keys_of(item: Item, artifacts: str, keep_best: int | None) -> Keys:
    """An item's idempotency keys.

    A picture's key is the SHA-256 of the input files' bytes, everything that the style and the line
    say, the seed, and the hashes of the server's artifacts. The sku is part of it, the manifest's name
    and the line's number are not: a manifest may be sorted anew. What decides whether a picture is
    good enough belongs to the item's key alone: with other thresholds nothing is painted again.

    Args:
        item: whose files exist.
        artifacts: see :meth:`packshot.AsyncStudio.artifacts`.
        keep_best: how many of its pictures are delivered.
    """
    inputs = {"photo": sha256(item.photo)} | ({"mask": sha256(item.mask)} if item.mask else {})
    style = asdict(item.style)
    gate = style.pop("gate")
    product = {
        "version": _VERSION,
        "sku": item.sku,
        "inputs": inputs,
        "prompt": item.prompt,
        "artifacts": artifacts,
    }
    pictures = tuple(_digest({**product, "style": style, "seed": seed}) for seed in item.seeds)
    whole = _digest({"pictures": pictures, "gate": gate, "keep_best": keep_best})
    return Keys(whole, _digest(product), pictures, inputs, artifacts)


def _digest(values: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
