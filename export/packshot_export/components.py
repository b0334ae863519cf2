"""Every graph of a repository as a component: the module to trace, and cases with the originals' answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from packshot.contract import GRAPHS, Graph
from packshot_export import denoiser_cases, sam_cases, text_cases, vae_cases
from packshot_export.axes import TRACED_SIZES, random_inputs
from packshot_export.cases import Case
from packshot_export.denoiser_graphs import ControlEmbedding, Step
from packshot_export.parts import Parts
from packshot_export.sam_graphs import SamDecoder, SamEncoder
from packshot_export.text_graph import TextEncoder
from packshot_export.vae_graphs import VaeDecoder, VaeEncoder


@dataclass(frozen=True, slots=True)
class Component:
    """A graph to export.

    Attributes:
        graph: what the contract says of it.
        module: computes it in fp32, from the original models' own layers.
        example: inputs to trace with.
        cases: makes inputs, and the original models' outputs for them.
    """

    graph: Graph
    module: nn.Module
    example: Mapping[str, Tensor]
    cases: Callable[[], Iterator[Case]]


def components(parts: Parts) -> Iterator[Component]:
    """Every component. Weights are read when their turn comes, and can be freed after it."""
    for group in (_sam, _text_encoder, _vae, _denoiser):
        yield from group(parts)


def _component(parts: Parts, name: str, module: nn.Module, cases: Callable[[], Iterator[Case]]) -> Component:
    family = parts.family
    example = random_inputs(GRAPHS[name], family.dims, TRACED_SIZES, family.canvas.multiple)
    return Component(GRAPHS[name], module.eval(), example, cases)


def _sam(parts: Parts) -> Iterator[Component]:
    sam = parts.load_sam()
    processor = sam_cases.image_processor(parts.image_processor)
    encoder = SamEncoder(sam, tuple(processor.image_mean), tuple(processor.image_std))
    yield _component(parts, "sam_encoder", encoder, partial(sam_cases.encoder_cases, sam, processor))
    yield _component(parts, "sam_decoder", SamDecoder(sam), partial(sam_cases.decoder_cases, sam))


def _text_encoder(parts: Parts) -> Iterator[Component]:
    model, tokenizer = parts.load_text_encoder(), parts.tokenizer
    module = TextEncoder(model, tokenizer.eos_token_id)
    yield _component(parts, "text_encoder", module, partial(text_cases.text_encoder_cases, model, tokenizer))


def _vae(parts: Parts) -> Iterator[Component]:
    vae = parts.load_vae()
    yield _component(parts, "vae_encoder", VaeEncoder(vae), partial(vae_cases.vae_encoder_cases, vae))
    yield _component(parts, "vae_decoder", VaeDecoder(vae), partial(vae_cases.vae_decoder_cases, vae))


def _denoiser(parts: Parts) -> Iterator[Component]:
    controlnets = parts.load_controlnets()
    dims, factor = parts.family.dims, parts.family.canvas.multiple
    yield _component(
        parts,
        "control_embedding",
        ControlEmbedding(controlnets),
        partial(denoiser_cases.control_embedding_cases, controlnets, dims, factor),
    )
    unet = parts.load_unet()
    yield _component(
        parts,
        "step",
        Step(unet, controlnets),
        partial(denoiser_cases.step_cases, unet, controlnets, dims, factor),
    )
