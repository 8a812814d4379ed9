"""The checkpoint layout of the RealUID authors: their generator is z + net(0, z), with torchcfm's U-Net."""

from __future__ import annotations

from pathlib import Path

from realuid.errors import CheckpointError, ExportError
from realuid.exports.contract import ABOUT, Contract
from realuid.exports.folding import refit
from realuid.exports.form import form_of
from realuid.loaders import ADMOptions, load_torchcfm_student, save_torchcfm_student
from realuid.models import MatchingModel, Reversed, Student, UNet
from realuid.models.saving.torch_file import read_torch_file
from realuid.paths import LinearPath

#: Tolerance of the skip connection's weight, which must be 1.
_ROUNDING = 1e-6


def write_authors(generator: Student, out: Path, contract: Contract, ema_key: str = "0.999") -> None:
    """Write a distilled checkpoint that their scripts sample, evaluate and fine-tune.

    A network that is called differently (other times, other signs) is refitted; one that is called as theirs is written
    bit by bit.

    Args:
        generator: with a U-Net of torchcfm's kind, and all of the noise passing it by: t_init = 1 on flow's path.
        out: file to write.
        contract: kept under a key that their scripts do not read.
        ema_key: the decay they will ask for.

    Raises:
        ExportError, CheckpointError: where the layout has no room for the model, saying why.
    """
    save_torchcfm_student(_as_theirs(generator), out, ema_key=ema_key, about={ABOUT: contract.to_json()})


def is_noted(path: Path) -> bool:
    """Whether a checkpoint is one that `write_authors` wrote."""
    return isinstance(read_torch_file(path).get(ABOUT), str)


def read_authors(path: Path, key: str | None = None) -> Student:
    """The generator of a checkpoint that `write_authors` wrote; `key` as in `load_torchcfm_student`.

    Raises:
        CheckpointError: where it is damaged.
    """
    try:
        about = Contract.from_json(read_torch_file(path).get(ABOUT), str(path)).about
        settings = about["network"]["settings"]
        options = ADMOptions(image_side=settings["sample_size"], head_channels=settings["attention_head_dim"])
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"'{path}' is damaged: its description cannot be read ({error}).") from error
    return load_torchcfm_student(path, key, options=options)


def _as_theirs(generator: Student) -> Student:
    """The same function as z + net(0, z)."""
    model = generator.model
    called_alike = isinstance(model.path, LinearPath) and model.prediction == "velocity" and generator.t_init == 1
    if called_alike and model.preconditioning == Reversed():
        return generator
    form = form_of(generator)
    if abs(form.skip - 1) > _ROUNDING:
        raise ExportError(
            f"the authors' generator is z + net(0, z), but in this one {form.skip:.4g} z passes the network (t_init = "
            f"{generator.t_init:.4g} on path '{model.path.name}'). Distil a flow with t_init = 1, or export another "
            "format."
        )
    unet = refit(generator, form, into=1.0, out=1.0, time=0.0)
    network = UNet(**model.network.settings)
    network.unet.load_state_dict(unet.state_dict())
    network.unused = model.network.unused
    return Student(MatchingModel(network, LinearPath(), "velocity", Reversed()), t_init=1.0).eval()
