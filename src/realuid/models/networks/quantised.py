"""Precision of the frozen network that adapters share: bfloat16, or linear layers in four bits by bitsandbytes."""

from __future__ import annotations

import importlib.util
from typing import Any, Literal

import torch
from torch import Tensor, nn

from realuid.compat import is_without_memory
from realuid.errors import ConfigError

#: As the teacher comes; bfloat16; linear layers in 4 bits (NF4, Dettmers et al. 2023) and all else in bfloat16.
BasePrecision = Literal["teacher", "bf16", "nf4"]

#: Numbers that share a scale. Narrow layers whose sides it does not divide stay in bfloat16.
_BLOCK = 64


def check_bitsandbytes(setting: str) -> None:
    """Raise ConfigError where bitsandbytes is not installed; `setting` is what needs it."""
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigError(f"{setting} needs the extra: pip install 'realuid[bits]'.")


def set_precision(network: nn.Module, precision: BasePrecision) -> None:
    """Convert the weights of a frozen network, in place.

    Raises:
        ConfigError: where bitsandbytes is needed and not installed.
    """
    if precision == "teacher":
        return
    if precision == "nf4" and not all(map(is_without_memory, network.parameters())):
        check_bitsandbytes(f"lora_base = {precision}")
    for name, module in list(network.named_modules()):
        for kept in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            if kept.dtype == torch.float32:
                kept.data = kept.data.to(torch.bfloat16)
        if precision == "nf4" and type(module) is nn.Linear and not any(n % _BLOCK for n in module.weight.shape):
            parent, _, last = name.rpartition(".")
            setattr(network.get_submodule(parent), last, _in_four_bits(module))


def _in_four_bits(layer: nn.Linear) -> nn.Module:
    if is_without_memory(layer.weight):
        return _Sized(layer)
    from bitsandbytes.nn import Linear4bit, Params4bit

    how: dict[str, Any] = {"quant_type": "nf4", "compress_statistics": True}
    size = (layer.in_features, layer.out_features)
    made = Linear4bit(*size, bias=layer.bias is not None, compute_dtype=torch.bfloat16, device="meta", **how)
    weight = layer.weight.detach()
    made.weight = Params4bit(weight, requires_grad=False, **how).to(weight.device)
    made.bias = layer.bias
    made.support_avx512bf16_for_cpu = False  # which repacks the weights for inference alone
    return made


class _Sized(nn.Linear):
    """What a layer in four bits takes of memory, for tensors that have sizes only: bitsandbytes cannot make such."""

    def __init__(self, layer: nn.Linear):
        super().__init__(layer.in_features, layer.out_features, bias=False, device="meta")
        packed = torch.empty(layer.weight.numel() // 2, dtype=torch.uint8)
        self.weight = nn.Parameter(packed, requires_grad=False)
        self.register_buffer("scales", torch.empty(layer.weight.numel() // _BLOCK, dtype=torch.uint8))
        self.bias = layer.bias

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = _Dequantised.apply(x.to(torch.bfloat16), self.weight, self.out_features)
        return (y if self.bias is None else y + self.bias).to(x.dtype)


class _Dequantised(torch.autograd.Function):
    """x W^T with a W that is made when it is needed, on the way back once more."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, packed: Tensor, outputs: int) -> Tensor:
        ctx.packed, ctx.size = packed, (outputs, x.shape[-1])
        return nn.functional.linear(x, packed.new_empty(ctx.size, dtype=torch.bfloat16))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        return grad @ ctx.packed.new_empty(ctx.size, dtype=torch.bfloat16), None, None


def is_quantised(layer: nn.Module) -> bool:
    """Whether a layer's weights are in four bits."""
    return isinstance(layer, nn.Linear) and hasattr(layer.weight, "quant_state")


def ordinary(layer: nn.Module) -> nn.Module:
    """A layer with ordinary weights: itself, or what a quantised one stands for."""
    if not is_quantised(layer):
        return layer
    from bitsandbytes.functional import dequantize_4bit

    assert isinstance(layer, nn.Linear)
    packed: Any = layer.weight
    weight: Tensor = dequantize_4bit(packed.data, packed.quant_state)
    made = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
    made.weight, made.bias = nn.Parameter(weight, requires_grad=False), layer.bias
    return made
