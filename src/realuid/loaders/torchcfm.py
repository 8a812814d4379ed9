"""Checkpoints of torchcfm and of the RealUID authors: teachers and distilled students, read and written.

Their time runs from noise (0) to data (1), and their velocity is data - noise: `Reversed` absorbs both. Their student
is z + net(0, z), our generator with t_init = 1.

    teacher:   net_model, ema_models {decay: weights} (authors) or ema_model (torchcfm's example)
    distilled: gen, u (the fake model), ema_gens {decay: weights}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from realuid.errors import CheckpointError
from realuid.files import atomic_file
from realuid.loaders.adm import PUBLISHED, ADMOptions, Weights, check_settings, infer_settings, is_adm
from realuid.loaders.adm_weights import from_diffusers, to_diffusers
from realuid.models import MatchingModel, Reversed, Student, UNet, check_weights
from realuid.models.saving.torch_file import read_torch_file
from realuid.paths import LinearPath

#: A discriminator's head on the authors' networks, which sampling does not use.
HEAD = "cls_pred_branch."
#: `ema_key` for the weights as trained, without averaging.
RAW = "raw"

# The entry that holds raw weights, and those that may hold averages, of which the first present one counts.
_TEACHER = ("net_model", ("ema_models", "ema_model"))
_STUDENT = ("gen", ("ema_gens",))
_FAKE = ("u", ())
_COUNT = "n_averaged"
_WRAPPERS = re.compile(r"^(module\.|_orig_mod\.)+")


def looks_like_teacher(checkpoint: object) -> bool:
    """Whether what was read from a file is a teacher's checkpoint by torchcfm or the RealUID authors."""
    return bool(_candidates(checkpoint, _TEACHER))


def looks_like_student(checkpoint: object) -> bool:
    """Whether what was read from a file is a distilled checkpoint by the RealUID authors."""
    return bool(_candidates(checkpoint, _STUDENT))


def looks_like(checkpoint: object) -> bool:
    """Whether what was read from a file belongs to this family, teacher or student.

    A bare state dict does not: it may as well be one of guided-diffusion's noise networks, which have the same names.
    """
    return looks_like_teacher(checkpoint) or looks_like_student(checkpoint)


def load_torchcfm(path: str | Path, ema_key: str | None = None, *, options: ADMOptions = PUBLISHED) -> MatchingModel:
    """The teacher of a checkpoint by torchcfm or the RealUID authors, in evaluation mode on the CPU.

    Args:
        path: file with `net_model` and `ema_models` or `ema_model`.
        ema_key: which average: its decay as the file spells it, or 'raw' for the weights without averaging. None takes
            the only average, or the raw weights where there is none.
        options: what the weights do not tell.

    Raises:
        CheckpointError: for a missing, damaged or different file, an architecture that cannot be converted, or an
            `ema_key` that does not exist or has to be given.
    """
    return _model(_choose(path, _TEACHER, ema_key), options, path)


def load_torchcfm_student(path: str | Path, ema_key: str | None = None, *, options: ADMOptions = PUBLISHED) -> Student:
    """The one-step generator of a distilled checkpoint by the RealUID authors: G(z) = z + net(0, z), so t_init = 1.

    Arguments and errors as in `load_torchcfm`; the file has `gen` and `ema_gens`.
    """
    return Student(_model(_choose(path, _STUDENT, ema_key), options, path), t_init=1.0).eval()


def load_torchcfm_fake(path: str | Path, *, options: ADMOptions = PUBLISHED) -> MatchingModel:
    """The fake model `u` of a distilled checkpoint by the RealUID authors.

    Arguments and errors as in `load_torchcfm`.
    """
    return _model(_choose(path, _FAKE, None), options, path)


def save_torchcfm_teacher(
    model: MatchingModel,
    path: str | Path,
    *,
    ema_key: str = "0.999",
    raw: MatchingModel | None = None,
    new_attention_order: bool = False,
) -> Path:
    """Write a teacher so that the authors' scripts (`ema_models`) and torchcfm's (`ema_model`) read it.

    Args:
        model: averaged weights; its network must be an ADM U-Net behind `Reversed`, as `load_torchcfm` makes it.
        path: file to write, all of it or nothing.
        ema_key: the decay the scripts will ask for.
        raw: weights without averaging (`net_model`); by default the averaged ones.
        new_attention_order: see `ADMOptions`.

    Raises:
        CheckpointError: where the layout has no room for the model.
    """
    average = _weights(model, new_attention_order)
    return _write(
        path,
        {
            "net_model": average if raw is None else _weights(raw, new_attention_order),
            "ema_models": {ema_key: average},
            "ema_model": {name: value for name, value in average.items() if not name.startswith(HEAD)},
        },
    )


def save_torchcfm_student(
    generator: Student,
    path: str | Path,
    *,
    ema_key: str = "0.999",
    raw: Student | None = None,
    fake: MatchingModel | None = None,
    new_attention_order: bool = False,
    about: Mapping[str, str] | None = None,
) -> Path:
    """Write a one-step generator as a distilled checkpoint that the authors' scripts sample, evaluate and fine-tune.

    Args:
        generator: averaged weights, with t_init = 1.
        path, ema_key, new_attention_order: as in `save_torchcfm_teacher`.
        raw: weights without averaging (`gen`); by default the averaged ones.
        fake: the fake model (`u`); left out by default.
        about: further entries, which their scripts pass over.

    Raises:
        CheckpointError: where the layout has no room for the model.
    """
    average = _generator_weights(generator, new_attention_order)
    checkpoint: dict[str, Any] = {"gen": average if raw is None else _generator_weights(raw, new_attention_order)}
    if fake is not None:
        checkpoint["u"] = _weights(fake, new_attention_order)
    return _write(path, {**checkpoint, "ema_gens": {ema_key: average}, **(about or {})})


def _candidates(checkpoint: object, layout: tuple[str, tuple[str, ...]]) -> dict[str, Weights]:
    """State dicts of a checkpoint by the `ema_key` that asks for them."""
    if not isinstance(checkpoint, Mapping):
        return {}
    raw, averages = layout
    found = {RAW: checkpoint.get(raw)}
    present = next((name for name in averages if isinstance(checkpoint.get(name), Mapping)), None)
    if present is not None:
        entry = checkpoint[present]
        found |= {present: entry} if is_adm(_unwrap(entry)) else {str(key): state for key, state in entry.items()}
    unwrapped = {key: _unwrap(state) for key, state in found.items()}
    return {key: state for key, state in unwrapped.items() if is_adm(state)}


def _unwrap(state: object) -> Weights:
    """A state dict without the prefixes of DataParallel, torch.compile and AveragedModel, and the latter's count."""
    if not isinstance(state, Mapping):
        return {}
    return {_WRAPPERS.sub("", str(key)): value for key, value in state.items() if key != _COUNT}


def _choose(path: str | Path, layout: tuple[str, tuple[str, ...]], ema_key: str | None) -> Weights:
    """The state dict of a file that `ema_key` asks for."""
    checkpoint = read_torch_file(path)
    found = _candidates(checkpoint, layout)
    if not found:
        entries = " or ".join(f"'{name}'" for name in (layout[0], *layout[1]))
        raise CheckpointError(
            f"'{path}' has no torchcfm U-Net under {entries}; it holds {', '.join(map(str, list(checkpoint)[:8]))}."
        )
    averages = [key for key in found if key != RAW]
    if ema_key is None and len(averages) > 1:
        raise CheckpointError(f"'{path}' holds several averages: pass key (--key), one of {', '.join(found)}.")
    key = (averages or [RAW])[0] if ema_key is None else ema_key
    if key not in found:
        raise CheckpointError(f"key = {key} is not in '{path}'. Allowed: {', '.join(found)}.")
    return found[key]


def _model(weights: Weights, options: ADMOptions, path: str | Path) -> MatchingModel:
    settings = infer_settings(weights, options)
    network = UNet(**settings)
    body = {name: value for name, value in weights.items() if not name.startswith(HEAD)}
    check_weights(from_diffusers(network.unet.state_dict(), settings), body, str(path))
    network.unet.load_state_dict(to_diffusers(body, settings, options.new_attention_order))
    network.unused = {name: value.clone() for name, value in weights.items() if name.startswith(HEAD)}
    return MatchingModel(network, LinearPath(), "velocity", Reversed()).eval()


def _weights(model: MatchingModel, new_attention_order: bool) -> dict[str, Tensor]:
    """The state dict of a model in the names of an ADM U-Net, with the head it may have come with."""
    if not isinstance(model.path, LinearPath) or model.prediction != "velocity" or model.preconditioning != Reversed():
        raise CheckpointError(
            f"the layout is for velocities on the linear path whose network reads 1 - t; this model predicts "
            f"{model.prediction} on path '{model.path.name}' with {model.preconditioning}."
        )
    if not isinstance(model.network, UNet):
        raise CheckpointError(f"the layout is for U-Nets, but the network is a {type(model.network).__name__}.")
    settings = model.network.unet.config
    check_settings(settings)
    body = {name: value.detach().cpu() for name, value in model.network.unet.state_dict().items()}
    return {**from_diffusers(body, settings, new_attention_order), **model.network.unused}


def _generator_weights(generator: Student, new_attention_order: bool) -> dict[str, Tensor]:
    if generator.t_init != 1:
        raise CheckpointError(
            f"the layout is for one step from pure noise, but the generator starts at t_init = {generator.t_init:g}. "
            "Distil with t_init = 1, or export another format."
        )
    return _weights(generator.model, new_attention_order)


def _write(path: str | Path, checkpoint: dict[str, Any]) -> Path:
    with atomic_file(Path(path)) as temporary:
        torch.save(checkpoint, temporary)
    return Path(path)
