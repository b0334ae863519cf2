"""TensorRT's optimisation profiles, read off the contract: which shapes a plan takes, and its best ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from packshot.contract import MAX_POINTS, MODELS, Graph
from packshot.family import Canvas, Family
from packshot_export.axes import shape
from packshot_serving.engine.schedulers import STATE_SIZE
from packshot_serving.engine.sizes import rung_within

#: Least, best and greatest.
Range = tuple[int, int, int]
Shape = tuple[int, ...]

#: Sides in pixels up to which a plan has kernels of its own; the family's largest side comes on top.
BUCKET_SIDES = (512, 768)
#: Slots of a step on 512×512: for one caller who waits, and for a catalogue. On larger canvases a
#: catalogue's step has fewer, since all have to fit into memory.
_LATENCY_SLOTS: Range = (1, 1, 2)
_THROUGHPUT_SLOTS: Range = (1, 8, 16)
_POINTS: Range = (1, 4, MAX_POINTS)
_STATE: Range = (STATE_SIZE, STATE_SIZE, STATE_SIZE)


@dataclass(frozen=True, slots=True)
class Profile:
    """One profile: input → its least, best and greatest shape, batch included."""

    shapes: Mapping[str, tuple[Shape, Shape, Shape]]


def profiles(graph: Graph, family: Family) -> tuple[Profile, ...]:
    """The profiles of a graph's plan, from the smallest canvases to all."""
    return tuple(_profile(graph, family, ranges) for ranges in _ranges(graph, family.canvas))


def exact_profile(graph: Graph, family: Family, sizes: Mapping[str, int]) -> Profile:
    """The profile of nothing but these sizes of a graph's free axes."""
    return _profile(graph, family, {axis: (size, size, size) for axis, size in sizes.items()})


def canvas_buckets(canvas: Canvas) -> tuple[int, ...]:
    """The greatest side of each bucket, in pixels. A bucket holds every smaller canvas, too."""
    inner = [side for side in BUCKET_SIDES if canvas.min_side <= side < canvas.max_side]
    return (*(side // canvas.multiple * canvas.multiple for side in inner), canvas.max_side)


def _ranges(graph: Graph, canvas: Canvas) -> Iterator[dict[str, Range]]:
    axes = {axis for tensor in graph.inputs for axis in tensor.dims}
    if not axes & {"h", "H"}:
        yield {"B": _batch(graph), "N": _POINTS}
        return
    for side in canvas_buckets(canvas):
        longest = side // canvas.multiple
        latents = (canvas.min_side // canvas.multiple, longest, longest)
        sizes: dict[str, Range] = {"h": latents, "w": latents}
        if graph.name != "step":
            yield {"B": _batch(graph), **sizes}
            continue
        fitting = _THROUGHPUT_SLOTS[2] * BUCKET_SIDES[0] ** 2 // max(side, BUCKET_SIDES[0]) ** 2
        # A runner pads a batch to such a size, and no profile would hold a larger one.
        greatest = rung_within(max(2, fitting))
        for least, best, most in dict.fromkeys((_LATENCY_SLOTS, (1, (greatest + 1) // 2, greatest))):
            rows = (least, 2 * best, 2 * most)
            # P: a plan cannot compute nothing; a step without ControlNet rows is given one.
            yield {"B": (least, best, most), "R": rows, "P": rows, "m": _STATE, **sizes}


def _batch(graph: Graph) -> Range:
    """Triton's batches; what Triton does not serve is run for one request at a time."""
    most = MODELS[graph.name].max_batch_size if graph.name in MODELS else 1
    return 1, (most + 1) // 2, most


def _profile(graph: Graph, family: Family, ranges: Mapping[str, Range]) -> Profile:
    least, best, most = ({axis: sizes[i] for axis, sizes in ranges.items()} for i in range(3))
    factor = family.canvas.multiple
    return Profile(
        {
            tensor.name: (
                shape(tensor, family.dims, least, factor),
                shape(tensor, family.dims, best, factor),
                shape(tensor, family.dims, most, factor),
            )
            for tensor in graph.inputs
        }
    )
