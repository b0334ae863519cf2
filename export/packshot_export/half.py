"""fp16: what computes in it, and what stays in fp32 because the numbers need it.

The precision is in the graph: casts are written out where it changes, so a runtime has nothing to choose.
In fp32 are

- all inputs and outputs; the graphs' own modules convert behind and in front of them;
- what is small and exact: normalised pixels, the sinusoids of timesteps and of SAM's points, guidance, and
  the scheduler's update, whose rounding would add up over the steps;
- in the VAE, group normalisation and attention. The normalisation sums the squares of up to a million
  pixels of the largest activations there are, and ONNX does not say in which precision
  ``InstanceNormalization`` sums; the one attention block has a single head of all channels, whose logits
  grow with them. Both run once for a picture, so they cost little.

UNet, ControlNet, text encoder and SAM normalise in ``LayerNormalization``, whose statistics are fp32 by
ONNX's definition (``stash_type`` 1), or in group norms of a sixty-fourth of the VAE's pixels. Fused
kernels of attention hold its scores in fp32; where it is spelled out, queries and keys are scaled before they
are multiplied, so the scores have not the range for which ``upcast_attention`` was invented, and
:mod:`packshot_export.headroom` measures them at every export. The sums inside a group norm it cannot see:
cuDNN's and TensorRT's are trusted to be fp32 there.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, TypeVar

import torch
from diffusers import AutoencoderKL
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

_IN_FP32 = (Attention, nn.GroupNorm)
_Module = TypeVar("_Module", bound=nn.Module)


def half(module: _Module) -> _Module:
    """A copy in fp16, with the parts in fp32 that need it; the original stays as it is, for the proof."""
    copied = copy.deepcopy(module).half()
    for vae in copied.modules():
        if isinstance(vae, AutoencoderKL):
            for part in _outermost(vae):
                part.float()
                part.register_forward_pre_hook(_to_fp32)
                part.register_forward_hook(_to_fp16)
    return copied


def _outermost(module: nn.Module) -> Iterator[nn.Module]:
    """Parts to keep in fp32 that are not inside another such part."""
    for child in module.children():
        if isinstance(child, _IN_FP32):
            yield child
        else:
            yield from _outermost(child)


def _to_fp32(_part: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(value.float() if isinstance(value, Tensor) else value for value in arguments)


def _to_fp16(_part: nn.Module, _arguments: tuple[Any, ...], output: Tensor) -> Tensor:
    return output.to(torch.float16)
