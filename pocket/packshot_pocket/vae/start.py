"""Where a VAE's training begins: as a codec of thumbnails.

With random weights hundreds of steps go into a grey blur. What delays the colours are the
normalisations before the last convolutions: they take a picture's own mean and spread away, which
is what the colour of a backdrop is. So we begin with weights that already hand every 8×8 block's mean colour
through, exactly, and with all residual branches silent. What training then learns is detail.
"""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

_COLOURS = range(3)
#: Size of the constants that outweigh the pictures in a normalisation.
_ANCHOR = 2.0


@torch.no_grad()
def start_as_thumbnails(vae: AutoencoderKL) -> None:
    """Make a fresh VAE encode every block as its mean colour, in latents 0 to 2, and decode that.

    Other weights stay as they were, for the training to use.
    """
    encoder, decoder = vae.encoder, vae.decoder
    for name, module in vae.named_modules():
        if name.endswith("conv2"):
            module.weight.zero_()
            module.bias.zero_()
        elif name.endswith("conv_shortcut"):
            _hand_through(module)
    _hand_through(encoder.conv_in)
    for block in encoder.down_blocks[:-1]:
        _average(block.downsamplers[0].conv)
    _hand_through(decoder.conv_in)
    for block in decoder.up_blocks[:-1]:
        _hand_through(block.upsamplers[0].conv)
    _pass_norm(
        encoder.down_blocks[-1].resnets[0].conv_shortcut,
        encoder.mid_block.resnets[-1].conv2,
        encoder.conv_norm_out,
        encoder.conv_out,
    )
    _pass_norm(
        decoder.up_blocks[-1].resnets[0].conv_shortcut,
        decoder.up_blocks[-1].resnets[-1].conv2,
        decoder.conv_norm_out,
        decoder.conv_out,
    )
    for mixer in (vae.quant_conv, vae.post_quant_conv):
        _hand_through(mixer)


def _middle(convolution: nn.Conv2d) -> Tensor:
    """The weights [out, in] of the pixel itself."""
    return convolution.weight[:, :, convolution.kernel_size[0] // 2, convolution.kernel_size[1] // 2]


def _hand_through(convolution: nn.Conv2d) -> None:
    """Channels 0 to 2 go in and out unchanged."""
    _clear(convolution, list(_COLOURS))
    for colour in _COLOURS:
        _middle(convolution)[colour, colour] = 1


def _average(convolution: nn.Conv2d) -> None:
    """Channels 0 to 2 are averaged over the 2×2 pixels; diffusers pads to the right and below."""
    _clear(convolution, list(_COLOURS))
    for colour in _COLOURS:
        convolution.weight[colour, colour, :2, :2] = 0.25


def _pass_norm(before: nn.Conv2d, anchor: nn.Conv2d, norm: nn.GroupNorm, after: nn.Conv2d) -> None:
    """Lead the colours through a normalisation and its SiLU without a change.

    A colour c gets a group of its own: c and −c, which have no mean, and constants, which make up
    nearly all of the spread. SiLU(c) − SiLU(−c) = c.

    Args:
        before: where the group's channels are made from channels 0 to 2.
        anchor: whose bias adds the constants.
    """
    size = norm.num_channels // norm.num_groups
    for colour in _COLOURS:
        first = colour * size
        group = list(range(first, first + size))
        signs = torch.tensor([1.0] * (size // 2) + [-1.0] * (size // 2))
        _clear(before, group)
        _middle(before)[first, colour], _middle(before)[first + 1, colour] = 1, -1
        anchor.bias[group] = _ANCHOR * signs
        norm.weight[group] = _ANCHOR
        norm.bias[group] = -_ANCHOR * signs
    _clear(after, list(_COLOURS))
    for colour in _COLOURS:
        _middle(after)[colour, colour * size], _middle(after)[colour, colour * size + 1] = 1, -1


def _clear(convolution: nn.Conv2d, rows: list[int]) -> None:
    convolution.weight[rows] = 0
    if convolution.bias is not None:
        convolution.bias[rows] = 0
