"""What the card can do at most: large products of matrices, and copies."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.report import Row


def limits(bench: Bench) -> Iterator[Row]:
    """TFLOP/s of square products on random data, in the timed precision and bf16, and GB/s of a copy."""
    models, device = bench.models, bench.models.device
    for size in (4096, 8192, 16384) if bench.cuda else (256,):
        works = {}
        for name, dtype in ((models.precision, models.dtype), ("bf16", torch.bfloat16)):
            a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
            works[f"matmul {name}"] = lambda a=a, b=b: a @ b
        yield from bench.timed(works, 2.0 * size**3, size=size)
    # Several times the cache.
    source = torch.randn(2**30 if bench.cuda else 2**20, device=device)
    target = torch.empty_like(source)
    ms = bench.clock.median(lambda: target.copy_(source))
    yield {"name": "copy", "ms": round(ms, 3), "gbytes_per_s": round(2 * source.nbytes / ms / 1e6, 1)}


def counted(bench: Bench) -> Iterator[Row]:
    """Floating-point operations of a picture's denoising, and the time that they take at the limit."""
    sizes = bench.models.sizes
    flop = bench.flop_of_row * 2 * sizes.steps
    row: Row = {"name": "guided steps of a picture", "side": sizes.side, "steps": sizes.steps}
    limit = bench.limit_tflops
    yield row | {"tflop": round(flop / 1e12, 4), "limit_ms": round(flop / limit / 1e9, 3) if limit else None}
