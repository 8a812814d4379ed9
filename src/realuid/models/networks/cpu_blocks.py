"""Faster CPU implementations of diffusers' U-Net blocks, with the same results up to rounding."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, linear, scaled_dot_product_attention

from realuid.compat import change_class


class ImageAttention(AttnProcessor2_0):
    """diffusers' self-attention between pixels, with one matrix product for queries, keys and values.

    An image in channels_last format is a matrix of pixels times channels, so nothing is copied on the way in
    and out. Everything but plain self-attention on images uses diffusers' own processor.
    """

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Tensor:
        """Args and result as of diffusers' processor: hidden_states and what it returns have shape (b, c, h, w)."""
        plain = hidden_states.ndim == 4 and encoder_hidden_states is None and attention_mask is None
        layers, last = (attn.to_q, attn.to_k, attn.to_v), attn.to_out[0]
        plain = plain and all(type(layer) is nn.Linear for layer in (*layers, last))  # and not one with an adapter
        if not plain or attn.spatial_norm is not None or attn.norm_q is not None or attn.norm_k is not None:
            return super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask, temb, *args, **kwargs)
        batch, _, height, width = hidden_states.shape
        x = hidden_states if attn.group_norm is None else attn.group_norm(hidden_states)
        bias = None if attn.to_q.bias is None else torch.cat([layer.bias for layer in layers])
        together = project(x.permute(0, 2, 3, 1), torch.cat([layer.weight for layer in layers]), bias)
        features = attn.to_q.out_features  # no size is left for reshape to find out: there may be no images
        heads = (attn.heads, features // attn.heads)
        q, k, v = together.reshape(batch, height * width, 3, *heads).permute(2, 0, 3, 1, 4)
        mixed = attend(q, k, v).transpose(1, 2).reshape(batch, height, width, features)
        out = attn.to_out[1](project(mixed, last.weight, last.bias)).permute(0, 3, 1, 2)
        if attn.residual_connection:
            out = out + hidden_states
        return out if attn.rescale_output_factor == 1 else out / attn.rescale_output_factor


class Shortcut(nn.Conv2d):
    """The 1x1 convolution past a residual block."""

    def forward(self, input: Tensor) -> Tensor:
        """Args and result as of any convolution."""
        return pointwise(input, self.weight, self.bias)


class ResidualBlock(ResnetBlock2D):
    """diffusers' residual block without copies: sums in place, and a shortcut in channels_last format.

    Blocks that resample, or use scale-shift time embeddings, use diffusers' code.
    """

    def forward(self, input_tensor: Tensor, temb: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Args and result as of diffusers' block: input_tensor has shape (b, c, h, w), temb (b, features)."""
        own = self.upsample is None and self.downsample is None and self.time_embedding_norm == "default"
        if not own or self.time_emb_proj is None or self.skip_time_act or self.output_scale_factor != 1:
            return super().forward(input_tensor, temb, *args, **kwargs)
        hidden = self.conv1(self.nonlinearity(self.norm1(input_tensor)))
        hidden += self.time_emb_proj(self.nonlinearity(temb))[:, :, None, None]
        hidden = self.conv2(self.dropout(self.nonlinearity(self.norm2(hidden))))
        hidden += input_tensor if self.conv_shortcut is None else self.conv_shortcut(input_tensor)
        return hidden


class Upsample(Upsample2D):
    """Nearest-neighbour upsampling and a 3x3 convolution as one transposed convolution: 16 products a pixel, not 36.

    On CPUs, where it takes half the time; elsewhere diffusers' code.
    """

    def forward(self, hidden_states: Tensor, output_size: Any = None, *args: Any, **kwargs: Any) -> Tensor:
        """Args and result as of diffusers' module: hidden_states has shape (b, c, h, w), the result (b, d, 2h, 2w)."""
        own = hidden_states.device.type == "cpu" and output_size is None and type(self.conv) is nn.Conv2d
        if torch.compiler.is_compiling() or not own:
            return super().forward(hidden_states, output_size, *args, **kwargs)
        last = hidden_states.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if last else torch.contiguous_format  # the result lies as image and kernel do
        kernel = stretched(self.conv.weight).contiguous(memory_format=layout)
        return conv_transpose2d(hidden_states, kernel, self.conv.bias, stride=2, padding=1)

    @staticmethod
    def fits(module: Upsample2D) -> bool:
        """Whether a module of diffusers can be replaced by it."""
        conv: Any = getattr(module, "conv", None)
        if module.norm is not None or not module.interpolate or type(conv) is not nn.Conv2d:
            return False
        return (conv.kernel_size, conv.padding) == ((3, 3), (1, 1))


def lay_out(network: nn.Module) -> None:
    """Replace blocks of a diffusers network by these implementations, in place; weights do not change."""
    for module in network.modules():
        if isinstance(module, Attention):
            module.set_processor(ImageAttention())
        elif type(module) is ResnetBlock2D:
            change_class(module, ResidualBlock)
            if isinstance(module.conv_shortcut, nn.Module):
                change_class(module.conv_shortcut, Shortcut)
        elif type(module) is Upsample2D and Upsample.fits(module):
            change_class(module, Upsample)


def project(pixels: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A linear layer on pixels, shape (b, h, w, c).

    On CPUs in fp32 as the convolution it is: oneDNN does that at the machine's rate, where MKL's matrix product takes
    twice as long on processors of another make.
    """
    if pixels.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
        return linear(pixels, weight, bias)
    return pointwise(pixels.permute(0, 3, 1, 2), weight[:, :, None, None], bias).permute(0, 2, 3, 1)


def pointwise(images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A 1x1 convolution, shape (b, c, h, w).

    On CPUs torch leaves those of fewer than 16 images to a kernel that takes twice as long. In channels-last memory
    every row of pixels is an image as well, and there are enough of those.
    """
    if torch.compiler.is_compiling() or images.device.type != "cpu" or len(images) >= 16:
        return conv2d(images, weight, bias)
    if not images.is_contiguous(memory_format=torch.channels_last):
        return conv2d(images, weight, bias)
    batch, channels, height, width = images.shape
    rows = images.permute(0, 2, 3, 1).reshape(batch * height, 1, width, channels)
    out = conv2d(rows.permute(0, 3, 1, 2), weight, bias)
    return out.permute(0, 2, 3, 1).reshape(batch, height, width, len(weight)).permute(0, 3, 1, 2)


def stretched(weight: Tensor) -> Tensor:
    """The kernel, shape (c, d, 4, 4), of the transposed convolution with stride 2 that does what a convolution with
    `weight`, shape (d, c, 3, 3), does to an image whose pixels stand twice in either direction.

    In a row, an even pixel sees w_0 on its original's left neighbour and w_1 + w_2 on the original, an odd one
    w_0 + w_1 on the original and w_2 on the right neighbour.
    """
    weight = weight.permute(1, 2, 3, 0)
    for direction in (1, 2):
        w_0, w_1, w_2 = weight.unbind(direction)
        weight = torch.stack([w_2, w_1 + w_2, w_0 + w_1, w_0], direction)
    return weight.permute(0, 3, 1, 2)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(d)) v, each of shape (b, heads, n, d).

    torch's kernel for CPUs computes bf16 no faster than fp32, two plain products do.
    """
    if q.device.type != "cpu" or q.dtype != torch.bfloat16:
        return scaled_dot_product_attention(q, k, v)
    with torch.autocast("cpu", enabled=False):
        return ((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)).softmax(-1) @ v
