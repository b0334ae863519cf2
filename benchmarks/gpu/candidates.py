"""Ways to take a guided, controlled step of so many rows."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.clock import Work
from benchmarks.gpu.forked import ForkedStep
from packshot_serving.engine.batch_step import repeatable_step
from packshot_serving.engine.bound_runner import BoundStepRunner
from packshot_serving.engine.preparation import Preparation


def diffusers_eager(bench: Bench, rows: int) -> Work:
    """ControlNet and UNet as diffusers' pipeline calls them."""
    models = bench.models
    return _diffusers_step(bench, rows, models.fast(models.unet), models.fast(models.controlnet))


def diffusers_compiled(bench: Bench, rows: int) -> Work:
    """The same as its documentation advises: channels last, ``max-autotune``, whole graphs."""
    models, compiled = bench.models, []
    for module in (models.unet, models.controlnet):
        fast = models.fast(module).to(memory_format=torch.channels_last)
        compiled.append(torch.compile(fast, mode="max-autotune", fullgraph=True, dynamic=False))
    step = _diffusers_step(bench, rows, *compiled)

    def work() -> object:
        torch.compiler.cudagraph_mark_step_begin()
        return step()

    return work


def fused_recorded(bench: Bench, rows: int, priority: int = 0) -> Work:
    """Our step in eager torch, recorded as a CUDA graph: its kernels without their launches."""
    return recorded(bench, bench.models.fast_step, rows, priority)


def fused_recorded_last(bench: Bench, rows: int) -> Work:
    """The same, channels last, as cuDNN wants its convolutions and torch not its GroupNorm."""
    return recorded(bench, _channels_last(bench), rows)


def fused_forked(bench: Bench, rows: int) -> Work:
    """Our step recorded, its ControlNets beside the UNet's encoder."""
    return recorded(bench, ForkedStep(bench.models.fast_step, bench.models.device), rows)


def fused_compiled(bench: Bench, rows: int) -> Work:
    """Our step through ``max-autotune``, recorded: what an AOTInductor package of it would run."""
    compiled = torch.compile(
        _channels_last(bench), mode="max-autotune-no-cudagraphs", fullgraph=True, dynamic=False
    )
    return recorded(bench, compiled, rows)


def ours_on_onnxruntime(bench: Bench, rows: int) -> Work:
    """The runner that serves, with everything that it does for a step."""
    return _ours(bench, bench.onnx_runner, rows)


def ours_on_tensorrt(bench: Bench, rows: int) -> Work:
    """The same on a TensorRT plan for just this size."""
    return _ours(bench, bench.tensorrt_runner(rows), rows)


CANDIDATES: dict[str, Callable[[Bench, int], Work]] = {
    "diffusers eager": diffusers_eager,
    "fused recorded": fused_recorded,
    "fused recorded, channels last": fused_recorded_last,
    "fused recorded, forked": fused_forked,
    "onnxruntime": ours_on_onnxruntime,
}
#: These take minutes to compile, and the sizes are fewer.
COMPILED: dict[str, Callable[[Bench, int], Work]] = {
    "diffusers compiled": diffusers_compiled,
    "fused compiled": fused_compiled,
    "tensorrt": ours_on_tensorrt,
}


def recorded(bench: Bench, module: Callable[..., object], rows: int, priority: int = 0) -> Work:
    """A module's call on inputs of so many rows; on a GPU as a graph that is played back.

    Its kernels have the priority of the stream that they are recorded on, wherever they are played.
    """
    inputs = bench.models.inputs("step", rows // 2)

    def call() -> object:
        with torch.no_grad():
            return module(**inputs)

    if not bench.cuda:
        return call
    with torch.cuda.stream(torch.cuda.Stream()):
        for _ in range(3):
            call()
    bench.clock.wait()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=torch.cuda.Stream(priority=priority)):
        call()
    return graph.replay


def _ours(bench: Bench, runner: BoundStepRunner, rows: int) -> Work:
    preparation = Preparation(runner, bench.models.family)
    requests = [bench.models.request(seed) for seed in range(rows // 2)]
    return repeatable_step(runner, [preparation.begin(each, preparation.check(each)) for each in requests])


def _channels_last(bench: Bench) -> nn.Module:
    return copy.deepcopy(bench.models.fast_step).to(memory_format=torch.channels_last)


def _diffusers_step(bench: Bench, rows: int, unet: nn.Module, controlnet: nn.Module) -> Work:
    """A step of ``StableDiffusionControlNetInpaintPipeline``'s loop, with a scheduler of two products."""
    models, batch = bench.models, rows // 2
    given = {name: tensor.to(models.dtype) for name, tensor in models.inputs("step", batch).items()}
    latents, prompt = given["state"][:, 0].clone(), given["encoder_hidden_states"]
    side = models.sizes.side
    control = (torch.rand(rows, 3, side, side, device=models.device) > 0.9).to(models.dtype)
    timestep = torch.tensor(501, device=models.device)

    def work() -> Tensor:
        with torch.no_grad():
            sample = torch.cat([latents] * 2)
            down, middle = controlnet(
                sample,
                timestep,
                encoder_hidden_states=prompt,
                controlnet_cond=control,
                conditioning_scale=0.5,
                return_dict=False,
            )
            masks = torch.cat([given["mask_latents"], given["masked_image_latents"]], dim=1)
            prediction = unet(
                torch.cat([sample, torch.cat([masks] * 2)], dim=1),
                timestep,
                encoder_hidden_states=prompt,
                down_block_additional_residuals=down,
                mid_block_additional_residual=middle,
                return_dict=False,
            )[0]
            uncond, cond = prediction.chunk(2)
            return 0.9 * latents + 0.1 * (uncond + 7.5 * (cond - uncond))

    return work
