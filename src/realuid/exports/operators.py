"""Operators allowed in an untrusted program: those that networks use and that check their arguments.

torch has thousands of operators, some of which take the caller's word for indices and sizes and read or write beyond
their memory (`segment_reduce`, `_sparse_coo_tensor_unsafe`, `max_unpool2d`). So the allowed ones are listed. The sizes
of their results follow from the sizes of their inputs.
"""

from __future__ import annotations

import re

import torch
from torch.library import OpOverload

from realuid.compat import is_pure

_ARITHMETIC = """
    abs acos acosh add addbmm addcdiv addcmul addmm addmv addr asin asinh atan atan2 atanh baddbmm bmm ceil clamp
    clamp_max clamp_min clip copysign cos cosh cross cumprod cumsum deg2rad diff div divide dot einsum erf erfc exp
    exp2 expm1 fix floor floor_divide fmax fmin fmod frac hypot inner lerp linalg_vector_norm linalg_cross log log10
    log1p log2 logaddexp logaddexp2 logcumsumexp logit logsumexp matmul maximum minimum mm mul multiply mv nan_to_num
    neg negative norm outer positive pow prod rad2deg reciprocal remainder round rsqrt rsub sgn sigmoid sign sin sinc
    sinh sqrt square sub subtract sum tan tanh tensordot true_divide trunc vdot xlogy
"""
_COMPARISONS = """
    all any argmax argmin amax amin aminmax argsort bitwise_and bitwise_not bitwise_or bitwise_xor eq equal ge greater
    greater_equal gt isclose isfinite isinf isnan le less less_equal logical_and logical_not logical_or logical_xor lt
    max mean median min ne not_equal sort std std_mean topk var var_mean where
"""
_LAYERS = """
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d alpha_dropout avg_pool1d avg_pool2d avg_pool3d
    batch_norm bilinear celu channel_shuffle constant_pad_nd conv1d conv2d conv3d conv_transpose1d conv_transpose2d
    conv_transpose3d dropout elu embedding feature_dropout gelu glu group_norm hardshrink hardsigmoid hardswish
    hardtanh instance_norm layer_norm leaky_relu linear log_sigmoid log_softmax max_pool1d max_pool2d max_pool3d mish
    one_hot pad pixel_shuffle pixel_unshuffle prelu reflection_pad1d reflection_pad2d reflection_pad3d relu relu6
    replication_pad1d replication_pad2d replication_pad3d rms_norm rrelu scaled_dot_product_attention selu silu
    softmax softplus softshrink threshold upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d
    upsample_nearest2d upsample_nearest3d upsample_trilinear3d
"""
_SHAPES = """
    alias arange atleast_1d atleast_2d atleast_3d broadcast_tensors broadcast_to cat chunk clone column_stack concat
    concatenate contiguous copy detach diag_embed dsplit dstack expand expand_as eye fill flatten flip fliplr flipud
    full full_like gather hsplit hstack index index_select lift_fresh_copy linspace masked_fill meshgrid moveaxis
    movedim narrow new_full new_ones new_zeros numpy_T ones ones_like permute repeat repeat_interleave reshape
    reshape_as roll rot90 scalar_tensor select slice split split_with_sizes squeeze stack swapaxes swapdims sym_numel
    sym_size t take_along_dim tensor_split tile to transpose tril triu type_as unbind unflatten unsafe_chunk
    unsafe_split unsqueeze view view_as vsplit vstack zero zeros zeros_like _assert_tensor_metadata _to_copy
"""
_NAMES = frozenset(" ".join((_ARITHMETIC, _COMPARISONS, _LAYERS, _SHAPES)).split())
#: Arithmetic of sizes, and the parts of a result.
_PYTHON = re.compile(r"torch\.sym_(max|min)|_operator\.(add|sub|mul|floordiv|mod|neg|getitem|eq|ne|lt|le|gt|ge)")
_ATEN = re.compile(r"torch\.ops\.aten\.(\w+)\.(\w+)")


def is_allowed(target: str) -> bool:
    """Whether a program may call a function, for instance 'torch.ops.aten.conv2d.default'; in place, too.

    Overloads that write into a tensor passed as `out`, of any size, may not be called.
    """
    if _PYTHON.fullmatch(target):
        return True
    match = _ATEN.fullmatch(target)
    if match is None or match[1].removesuffix("_") not in _NAMES:
        return False
    overload = getattr(getattr(torch.ops.aten, match[1], None), match[2], None)
    return isinstance(overload, OpOverload) and is_pure(overload)
