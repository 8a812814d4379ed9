r"""Folding of input scale, output scale and time into the weights of a U-Net.

At one fixed time, three changes can be folded into the weights of a `UNet2DModel` F: the input's scale into the first
convolution, the output's scale into the last one, and a change of time into the bias of the time embedding's first
layer, which absorbs the difference between the sinusoidal embeddings. So B F(C z; tau) = out F'(into z; time) for any
given out, into and time, up to rounding. The term A z bypasses the network, so it has to be the same in both forms.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from diffusers import UNet2DModel
from torch import nn

from realuid.errors import ExportError
from realuid.exports.form import Form
from realuid.models import Student, UNet


def foldable(generator: Student) -> str | None:
    """Why a generator's network cannot be refitted, or None where it can."""
    network = generator.model.network
    if not isinstance(network, UNet):
        return f"its network is a {type(network).__name__}, not a UNet2DModel"
    if generator.model.path.coupled:
        return "it starts from source images"
    if network.heads > 1:
        return f"its network makes {network.heads} predictions"
    if generator.codec:
        return "its images are decoded from latents"
    config = network.unet.config
    if config.time_embedding_type != "positional" or config.center_input_sample:
        return f"time_embedding_type = {config.time_embedding_type}, center_input_sample = {config.center_input_sample}"
    if skips := [kind for kind in (*config.down_block_types, *config.up_block_types) if "Skip" in kind]:
        return f"images enter or leave its {skips[0]} beside the first and the last convolution"
    if config.class_embed_type is not None:
        return f"class_embed_type = {config.class_embed_type}"
    return None


@torch.no_grad()
def refit(generator: Student, form: Form, *, into: float, out: float, time: float) -> UNet2DModel:
    """A U-Net F' with out F'(into z; time) = B F(C z; tau), B, C and tau those of the generator's form.

    Raises:
        ExportError: for a network without those places.
    """
    if (reason := foldable(generator)) is not None:
        raise ExportError(f"the network cannot be refitted: {reason}.")
    unet: Any = copy.deepcopy(generator.model.network).unet
    if unet.config.out_channels > (channels := generator.model.shape[0]):  # a learned variance, which one step drops
        for name, value in list(unet.conv_out.named_parameters()):
            setattr(unet.conv_out, name, nn.Parameter(value[:channels].clone()))
        unet.conv_out.out_channels = channels
        unet.register_to_config(out_channels=channels)
    unet.conv_in.weight.copy_(unet.conv_in.weight.double() * (form.into / into))
    for parameter in (unet.conv_out.weight, unet.conv_out.bias):
        parameter.copy_(parameter.double() * (form.out[0] / out))
    first = unet.time_embedding.linear_1
    own, wanted = (unet.time_proj(torch.tensor([t], dtype=torch.float32))[0].double() for t in (form.time, time))
    first.bias.copy_(first.bias.double() + first.weight.double() @ (own - wanted))
    return unet.eval()
