"""An independent account of EDM's network pickles: names and shapes from arguments, and a writer of such files.

Plain Python, never importing the library. The names and shapes are held against the reference pickles by a test; the
writer makes files of any size in the same layout.
"""

from __future__ import annotations

import math
import pickle
import sys
import types
from collections import OrderedDict
from contextlib import contextmanager
from pathlib import Path

import numpy
import torch

Shapes = dict[str, tuple[int, ...]]

#: Published arguments (Karras et al. 2022, Table 7 and Appendix F).
DDPMPP_CIFAR = {
    "img_resolution": 32,
    "in_channels": 3,
    "out_channels": 3,
    "label_dim": 0,
    "augment_dim": 9,
    "model_channels": 128,
    "channel_mult": [2, 2, 2],
    "dropout": 0.13,
    "embedding_type": "positional",
    "encoder_type": "standard",
    "decoder_type": "standard",
    "channel_mult_noise": 1,
    "resample_filter": [1, 1],
}
NCSNPP_CIFAR = {
    **DDPMPP_CIFAR,
    "embedding_type": "fourier",
    "encoder_type": "residual",
    "channel_mult_noise": 2,
    "resample_filter": [1, 3, 3, 1],
}
ADM_IMAGENET = {
    "img_resolution": 64,
    "in_channels": 3,
    "out_channels": 3,
    "label_dim": 1000,
    "model_channels": 192,
    "channel_mult": [1, 2, 3, 4],
    "dropout": 0.1,
}


def _conv(name: str, inputs: int, outputs: int, kernel: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs, kernel, kernel), f"{name}.bias": (outputs,)}


def _linear(name: str, inputs: int, outputs: int, bias: bool = True) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), **({f"{name}.bias": (outputs,)} if bias else {})}


def _norm(name: str, channels: int) -> Shapes:
    return {f"{name}.weight": (channels,), f"{name}.bias": (channels,)}


def _block(name, inputs, outputs, emb, *, attention, taps, adaptive, project, resampled=False) -> Shapes:
    filters = {".resample_filter": (1, 1, taps, taps)} if resampled else {}
    shapes = {
        **_norm(f"{name}.norm0", inputs),
        **_conv(f"{name}.conv0", inputs, outputs, 3),
        **{f"{name}.conv0{key}": value for key, value in filters.items()},
        **_linear(f"{name}.affine", emb, outputs * (2 if adaptive else 1)),
        **_norm(f"{name}.norm1", outputs),
        **_conv(f"{name}.conv1", outputs, outputs, 3),
        **{f"{name}.skip{key}": value for key, value in filters.items()},
    }
    if inputs != outputs or (resampled and project):
        shapes |= _conv(f"{name}.skip", inputs, outputs, 1)
    if attention:
        shapes |= _norm(f"{name}.norm2", outputs)
        shapes |= _conv(f"{name}.qkv", outputs, 3 * outputs, 1) | _conv(f"{name}.proj", outputs, outputs, 1)
    return shapes


def _levels(a: dict, block, blocks: int, attends: list[int], attends_in_all: bool) -> Shapes:
    side, width, shapes, joined = a["img_resolution"], a["model_channels"], {}, []
    for level, mult in enumerate(a["channel_mult"]):
        s = f"{side >> level}x{side >> level}"
        if level == 0:
            shapes |= _conv(f"enc.{s}_conv", a["in_channels"], width, 3)
        else:
            shapes |= block(f"enc.{s}_down", width, width, False, True)
        joined.append(width)
        for i in range(blocks):
            shapes |= block(f"enc.{s}_block{i}", width, a["model_channels"] * mult, side >> level in attends)
            width = a["model_channels"] * mult
            joined.append(width)
    for level in reversed(range(len(a["channel_mult"]))):
        s, mult = f"{side >> level}x{side >> level}", a["channel_mult"][level]
        if level == len(a["channel_mult"]) - 1:
            shapes |= block(f"dec.{s}_in0", width, width, True) | block(f"dec.{s}_in1", width, width, False)
        else:
            shapes |= block(f"dec.{s}_up", width, width, False, True)
        for i in range(blocks + 1):
            attention = side >> level in attends and (attends_in_all or i == blocks)
            shapes |= block(f"dec.{s}_block{i}", width + joined.pop(), a["model_channels"] * mult, attention)
            width = a["model_channels"] * mult
    return shapes


def song_shapes(a: dict) -> Shapes:
    """Parameters and buffers of SongUNet(**a) (standard decoder; standard or residual encoder), by name."""
    noise, emb, taps = a["model_channels"] * a["channel_mult_noise"], a["model_channels"] * 4, len(a["resample_filter"])

    def block(name, inputs, outputs, attention, resampled=False):
        return _block(
            name,
            inputs,
            outputs,
            emb,
            attention=attention,
            taps=taps,
            adaptive=False,
            project=True,
            resampled=resampled,
        )

    shapes = {"map_noise.freqs": (noise // 2,)} if a["embedding_type"] == "fourier" else {}
    shapes |= _linear("map_label", a["label_dim"], noise) if a.get("label_dim") else {}
    shapes |= _linear("map_augment", a["augment_dim"], noise, bias=False) if a.get("augment_dim") else {}
    shapes |= _linear("map_layer0", noise, emb) | _linear("map_layer1", emb, emb)
    shapes |= _levels(a, block, a.get("num_blocks", 4), a.get("attn_resolutions", [16]), attends_in_all=False)
    side, widths = a["img_resolution"], [a["model_channels"] * m for m in a["channel_mult"]]
    if a["encoder_type"] == "residual":
        images = [a["in_channels"], *widths]
        for level in range(1, len(widths)):
            name = f"enc.{side >> level}x{side >> level}_aux_residual"
            shapes |= _conv(name, images[level - 1], widths[level - 1], 3)
            shapes[f"{name}.resample_filter"] = (1, 1, taps, taps)
    shapes |= _norm(f"dec.{side}x{side}_aux_norm", widths[0])
    return shapes | _conv(f"dec.{side}x{side}_aux_conv", widths[0], a["out_channels"], 3)


def adm_shapes(a: dict) -> Shapes:
    """Parameters and buffers of DhariwalUNet(**a), by name."""
    emb = a["model_channels"] * 4

    def block(name, inputs, outputs, attention, resampled=False):
        attention = attention and outputs >= 64  # 64 channels a head
        return _block(
            name, inputs, outputs, emb, attention=attention, taps=2, adaptive=True, project=False, resampled=resampled
        )

    shapes = _linear("map_layer0", a["model_channels"], emb) | _linear("map_layer1", emb, emb)
    shapes |= _linear("map_label", a["label_dim"], emb, bias=False) if a["label_dim"] else {}
    shapes |= _levels(a, block, a.get("num_blocks", 3), a.get("attn_resolutions", [32, 16, 8]), attends_in_all=True)
    width = a["model_channels"] * a["channel_mult"][0]
    return shapes | _norm("out_norm", width) | _conv("out_conv", width, a["out_channels"], 3)


def is_buffer(name: str) -> bool:
    """Whether a name is a buffer's, not a parameter's."""
    return name.endswith(("freqs", "resample_filter"))


def count(shapes: Shapes) -> int:
    """Number of parameters."""
    return sum(math.prod(shape) for name, shape in shapes.items() if not is_buffer(name))


def random_weights(shapes: Shapes, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights of a size at which every layer matters and nothing overflows; filters are low-pass filters."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in shapes.items():
        if name.endswith("resample_filter"):
            row = torch.tensor({2: [1.0, 1.0], 4: [1.0, 3.0, 3.0, 1.0]}[shape[-1]])
            weights[name] = (torch.outer(row, row) / row.sum() ** 2)[None, None]
        elif len(shape) == 1:
            weights[name] = torch.randn(shape, generator=generator) * 0.02 + ("norm" in name and "weight" in name)
        else:
            weights[name] = torch.randn(shape, generator=generator) / math.prod(shape[1:]) ** 0.5
    return weights


class _Persistent:
    """Pickles as EDM's persistent objects do: one function of one dictionary."""

    def __init__(self, class_name: str, state: dict):
        self.class_name, self.state = class_name, state

    def __reduce__(self):
        meta = {
            "type": "class",
            "version": 6,
            "module_src": "raise RuntimeError('the stored source must never run')\n",
            "class_name": self.class_name,
            "state": self.state,
        }
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (meta,)


def _state(parameters: dict, buffers: dict, modules: dict, **rest) -> dict:
    hooks = (
        "_backward_hooks",
        "_forward_hooks",
        "_forward_pre_hooks",
        "_state_dict_hooks",
        "_load_state_dict_pre_hooks",
    )
    return {
        "training": False,
        "_parameters": OrderedDict(parameters),
        "_buffers": OrderedDict(buffers),
        "_non_persistent_buffers_set": set(),
        **{hook: OrderedDict() for hook in hooks},
        "_modules": OrderedDict(modules),
        **rest,
    }


def _tree(weights: dict[str, torch.Tensor], class_name: str, **rest):
    """Nest weights by their dotted names as EDM's modules are nested."""
    parameters, buffers, inner = {}, {}, {}
    for name, value in weights.items():
        first, _, remainder = name.partition(".")
        if remainder:
            inner.setdefault(first, {})[remainder] = value
        elif is_buffer(name):
            buffers[name] = value
        else:
            is_tensor = isinstance(value, torch.Tensor)
            parameters[name] = torch.nn.Parameter(value, requires_grad=False) if is_tensor else value
    modules = {}
    for name, part in inner.items():
        kind = "ModuleDict" if name in ("enc", "dec") else "UNetBlock" if "norm0.weight" in part else "Conv2d"
        modules[name] = _tree(part, kind)
    state = _state(parameters, buffers, modules, **rest)
    if class_name != "ModuleDict":
        return _Persistent(class_name, state)
    levels = torch.nn.ModuleDict()
    levels.__dict__.update(state)
    return levels


@contextmanager
def _edm_modules():
    """Modules of EDM's names, for as long as pickling looks them up."""
    persistence = types.ModuleType("torch_utils.persistence")

    def _reconstruct_persistent_obj(meta):
        raise RuntimeError("never called")

    _reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
    _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
    persistence._reconstruct_persistent_obj = _reconstruct_persistent_obj
    names = {"torch_utils": types.ModuleType("torch_utils"), "torch_utils.persistence": persistence}
    sys.modules.update(names)
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


def write(
    path: Path, arguments: dict, weights: dict, *, network="SongUNet", wrapper="EDMPrecond", protocol=4, **extra
) -> Path:
    """Write a network pickle.

    Args:
        path: of the file.
        arguments: the inner network's.
        weights: the inner network's, by dotted name; what is no tensor is stored as it is.
        network, wrapper: class names.
        protocol: of the pickle.
        **extra: further entries of the pickle's dictionary.
    """
    constants = {
        "EDMPrecond": {"sigma_min": 0, "sigma_max": float("inf"), "sigma_data": 0.5},
        "VPPrecond": {"sigma_min": 0.001, "sigma_max": 152.0, "beta_d": 19.9, "beta_min": 0.1, "M": 1000},
        "VEPrecond": {"sigma_min": 0.02, "sigma_max": 100},
        "iDDPMPrecond": {"sigma_min": 0.0064, "sigma_max": 20291.0, "C_1": 0.001, "C_2": 0.008, "M": 1000},
    }[wrapper]
    arguments = {**arguments, "dropout": numpy.float64(arguments["dropout"])}
    model = _tree(weights, network, _init_args=(), _init_kwargs=arguments)
    state = _state({}, {}, {"model": model}, _init_args=(), _init_kwargs={"model_type": network}, **constants)
    with _edm_modules():
        content = {
            "ema": _Persistent(wrapper, state),
            "loss_fn": _Persistent("EDMLoss", {"P_mean": -1.2, "P_std": 1.2, "sigma_data": 0.5}),
            "augment_pipe": _Persistent("AugmentPipe", {"p": 0.12, "xflip": 1e8, "_init_kwargs": {}}),
            "dataset_kwargs": {"resolution": arguments["img_resolution"], "use_labels": False},
            **extra,
        }
        with path.open("wb") as file:
            pickle.dump(content, file, protocol=protocol)
    return path
