"""The graphs beside the step: parity with fp32, and times."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks.gpu.bench import Bench, difference
from benchmarks.gpu.forked import ForkedStep
from benchmarks.gpu.report import Row
from packshot_export.half import half


def parity(bench: Bench) -> Iterator[Row]:
    """Every graph in fp16, as it is exported, against itself in fp32, at full resolution."""
    models = bench.models
    with torch.no_grad(), torch.device(models.device):
        for name, module in {**models.parts(), "step": models.step}.items():
            try:
                inputs = models.inputs(name, 2)
                if name == "step":  # else the state, which both have, would hide the prediction
                    inputs |= {"transition": 0 * inputs["transition"], "gain": 10 * inputs["gain"]}
                reference = module(**inputs)
                found = half(module)(**inputs)
                for tensor, wanted in reference.items():
                    yield {"name": name, "tensor": tensor, **difference(found[tensor], wanted)}
                if module is models.step:
                    found = ForkedStep(half(models.step), models.device)(**inputs)["next_state"]
                    yield {"name": "step, forked", **difference(found, reference["next_state"])}
            except RuntimeError as error:
                yield {"name": name, "error": str(error)[:2000]}


def parts(bench: Bench) -> Iterator[Row]:
    """Milliseconds of each graph in eager torch in both layouts, one and several at once."""
    models = bench.models
    for name, module in models.parts().items():
        for batch in models.sizes.batches:
            try:
                with torch.no_grad(), torch.device(models.device):
                    inputs, works = models.inputs(name, batch), {}
                    for layout in (torch.contiguous_format, torch.channels_last):
                        fast = models.fast(module).to(memory_format=layout)
                        label = f"{name}, {str(layout).removeprefix('torch.')}"
                        works[label] = lambda fast=fast, inputs=inputs: fast(**inputs)
                    flop = bench.count(next(iter(works.values())))
                    rows = bench.timed(works, flop, batch=batch)
            except RuntimeError as error:
                rows = [{"name": name, "batch": batch, "error": str(error)[:2000]}]
            yield from rows
