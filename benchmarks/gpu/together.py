"""The VAE beside the step loop, and where the time of a step goes."""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.candidates import diffusers_eager, fused_recorded, ours_on_onnxruntime
from benchmarks.gpu.clock import Work
from benchmarks.gpu.report import Row
from packshot_bench.failure import failure

#: The first that a kernel's name matches; for a CPU the same of operators. Attention is what has a kernel
#: of its own: where a runtime computes it of products, those are gemm.
KERNEL_CLASSES = (
    ("attention", r"flash|fmha|attention|softmax"),
    ("layout", r"nchwtonhwc|nhwctonchw"),
    ("norm", r"norm|bn_fw|welford|rowwisemoments"),
    ("conv", r"conv|implicit|wgrad|dgrad|xmma_fprop|cudnn"),
    ("gemm", r"gemm|cutlass|nvjet|cublas|matmul|addmm|\bmm\b|bmm|linear"),
    ("layout", r"nchw|nhwc|transpose|copy|memcpy|memset|cat|index|gather|upsample|permute"),
    ("elementwise", r"elementwise|triton_poi|silu|gelu|sigmoid|add|mul|div"),
)


def overlap(bench: Bench) -> Iterator[Row]:
    """Steps and VAE decoding, alone and on two streams at once: what each loses, what both gain."""
    models, rows = bench.models, bench.models.sizes.rows[-2]
    count = 8 if bench.cuda else 1
    with torch.no_grad():
        decoder = models.fast(models.parts()["vae_decoder"]).to(memory_format=torch.channels_last)
    latents = models.inputs("vae_decoder", 1)

    def decode() -> object:
        with torch.no_grad():
            return decoder(**latents)

    # Streams of higher priority get their blocks placed first.
    for label, priorities in (("equal", (0, 0)), ("the step first", (-1, 0))):
        step = fused_recorded(bench, rows, priorities[0])
        streams = [_stream(bench, priority) for priority in priorities]

        def run(number: int, work: Work, streams: list[Any] = streams) -> None:
            with streams[number]:
                for _ in range(count):
                    work()

        alone = [bench.clock.median(lambda n=n, w=w: run(n, w)) for n, w in ((0, step), (1, decode))]
        both = bench.clock.median(lambda step=step: (run(0, step), run(1, decode)))
        yield {
            "name": f"{count} steps and {count} decodings", "priority": label, "rows": rows,
            "steps_ms": round(alone[0], 3), "decodings_ms": round(alone[1], 3), "together_ms": round(both, 3),
            "of_sum": round(both / sum(alone), 4),
        }  # fmt: skip


def where(bench: Bench) -> Iterator[Row]:
    """Of a step, by class of kernel and for the twenty greatest, in torch and in ONNX Runtime."""
    for name, prepare in (("diffusers eager", diffusers_eager), ("onnxruntime", ours_on_onnxruntime)):
        for rows in (bench.models.sizes.rows[0], bench.models.sizes.rows[-2]):
            try:
                work = prepare(bench, rows)
                work()
                bench.clock.wait()
                yield {"name": name, "rows": rows, **_profiled(bench, work)}
            except Exception as error:  # noqa: BLE001 - the other profiles are worth having
                yield {"name": name, "rows": rows, "error": failure(error)}


def _profiled(bench: Bench, work: Work) -> Row:
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if bench.cuda else [])]
    with profile(activities=activities) as profiler:
        work()
        bench.clock.wait()
    times: dict[str, float] = defaultdict(float)
    calls: dict[str, int] = defaultdict(int)
    for event in profiler.key_averages():
        taken = event.self_device_time_total if bench.cuda else event.self_cpu_time_total
        # On a GPU the operators have their kernels' time, too: only the kernels count.
        if taken > 0 and (not bench.cuda or event.device_type == torch.autograd.DeviceType.CUDA):
            times[event.key] += taken / 1e3
            calls[event.key] += event.count
    classes: dict[str, float] = defaultdict(float)
    for key, ms in times.items():
        classes[_class(key)] += ms
    total = sum(times.values())
    top = sorted(times, key=lambda key: -times[key])[:20]
    return {
        "total_ms": round(total, 3),
        "kernels": sum(calls.values()),
        "shares": {name: round(ms / max(total, 1e-9), 4) for name, ms in classes.items()},
        "samples_top": [[key[:160], _class(key), round(times[key], 4), calls[key]] for key in top],
    }


def _class(name: str) -> str:
    return next((label for label, pattern in KERNEL_CLASSES if re.search(pattern, name, re.I)), "other")


def _stream(bench: Bench, priority: int) -> contextlib.AbstractContextManager[Any]:
    device = torch.get_device_module(bench.models.device)
    return device.stream(device.Stream(priority=priority))
