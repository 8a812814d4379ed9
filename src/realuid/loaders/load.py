"""Loading a teacher or a student from any supported format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from realuid.errors import CheckpointError, ConfigError, unknown_name
from realuid.loaders import torchcfm
from realuid.loaders.adm import PUBLISHED, ADMOptions, is_adm
from realuid.loaders.diffusers_folder import load_diffusers
from realuid.loaders.edm import load_edm_pickle, load_edm_student
from realuid.loaders.formats import base_and_adapter, local_path, model_folder, recognise
from realuid.loaders.in_memory import is_of_diffusers, load_from_memory
from realuid.models import MatchingModel, Student, from_pretrained, load_single_file, resize
from realuid.models.networks.own import Function
from realuid.models.networks.prompted import PromptNetwork
from realuid.models.saving.torch_file import read_torch_file
from realuid.models.sizes import check_size
from realuid.settings import check_kind

Kind = Literal["teacher", "generator"]
_KINDS: dict[Kind, str] = {"teacher": "a teacher", "generator": "a student"}


@dataclass(frozen=True)
class Request:
    """Options of loading besides the location. See `load_model`."""

    kind: Kind | None = None
    key: str | None = None
    adm: ADMOptions = PUBLISHED
    network: Function | None = None
    size: tuple[int, ...] | None = None


def load_model(
    source: str | Path,
    *,
    kind: Kind | None = None,
    key: str | None = None,
    adm: ADMOptions = PUBLISHED,
    network: Function | None = None,
    size: tuple[int, ...] | None = None,
) -> MatchingModel | Student:
    """A teacher or a generator, in evaluation mode on the CPU; the format is recognised from the files.

    Args:
        source: a model or run folder of realuid, or its one safetensors file; a folder of diffusers; a network pickle
            in EDM's layout; a checkpoint of torchcfm or of the RealUID authors; or the id of a model on the Hugging
            Face hub, 'org/name' or 'org/name@revision'. 'BASE+ADAPTER' for a text-to-image model with an adapter (LoRA)
            of diffusers or PEFT, which is merged into its weights.
        kind: which of the two it is, where the files do not tell: EDM's teachers and SiD's students look alike.
        key: which weights, where there are several: the decay of an average in a checkpoint ('raw' for the weights as
            trained), the entry of a pickle ('ema'), the folder of a network ('unet_ema').
        adm: properties of a torchcfm network that its weights do not determine.
        network: for a model around a user's network (`Teacher`): an instance, whose weights are replaced.
        size: of the images of a text-to-image model of diffusers or its student, (height, width), of videos (frames,
            height, width); None: what its pipeline makes by default, or the size that the student was saved with.

    Raises:
        ConfigError: for what is no path, an unknown kind, and the size of a model that makes images of one size.
        CheckpointError: where nothing is found, it cannot be read, is of the other kind, or has to be told apart.
    """
    check_kind("model", source, str, Path)
    if kind is not None and kind not in _KINDS:
        raise ConfigError(unknown_name("kind", str(kind), _KINDS))
    size = None if size is None else check_size(size)
    request = Request(kind, key, adm, network, size)
    _, adapter = base_and_adapter(source)
    path = local_path(source)
    name = recognise(path)
    if network is not None and name not in ("realuid", "safetensors"):
        raise CheckpointError(f"network was passed, but '{source}' ({name}) brings its own.")
    model = LOADERS[name](path, request)
    if adapter:
        _merge(model, adapter)
    (model.model if isinstance(model, Student) else model).origin = str(source)
    found: Kind = "generator" if isinstance(model, Student) else "teacher"
    if kind is not None and kind != found:
        raise CheckpointError(f"'{source}' is {_KINDS[found]}, not {_KINDS[kind]}.")
    if size is not None and name != "diffusers":  # whose loader has done so
        resize(model, size)
    return model


def load_teacher(
    source: str | Path | Any,
    *,
    key: str | None = None,
    adm: ADMOptions = PUBLISHED,
    network: Function | None = None,
    size: tuple[int, ...] | None = None,
    scheduler: Any = None,
) -> MatchingModel:
    """A teacher.

    Args:
        source: what `load_model` takes; or, in memory, a pipeline of diffusers, or a network of diffusers with its
            `scheduler`: `load_teacher(unet, scheduler=DDPMScheduler())`.
        key, adm, network, size: as for `load_model`.
        scheduler: of a network of diffusers.

    Raises:
        ConfigError, CheckpointError: as `load_model` does.
    """
    if not isinstance(source, str | Path):
        if is_of_diffusers(source):
            if network is not None or adm != PUBLISHED:
                raise ConfigError("network, adm: a model of diffusers in memory brings its own. Leave them out.")
            return load_from_memory(source, scheduler, key, size)
        check_kind("model", source, str, Path)
    if scheduler is not None:
        raise ConfigError("scheduler: only with a network of diffusers that is in memory. Leave it out.")
    model = load_model(source, kind="teacher", key=key, adm=adm, network=network, size=size)
    assert isinstance(model, MatchingModel)
    return model


def load_generator(
    source: str | Path,
    *,
    key: str | None = None,
    adm: ADMOptions = PUBLISHED,
    network: Function | None = None,
    size: tuple[int, ...] | None = None,
) -> Student:
    """A student; arguments and errors as for `load_model`."""
    model = load_model(source, kind="generator", key=key, adm=adm, network=network, size=size)
    assert isinstance(model, Student)
    return model


def _merge(model: MatchingModel | Student, adapter: str) -> None:
    """Merge an adapter into the weights of a teacher.

    Raises:
        ConfigError: where PEFT is not installed.
        CheckpointError: for a model that takes none, or an adapter that does not fit.
    """
    network = model.model.network if isinstance(model, Student) else model.network
    if not isinstance(network, PromptNetwork):
        raise CheckpointError(
            f"the adapter '{adapter}' is for text-to-image models, not for a {type(network).__name__}."
        )
    try:
        from realuid.loaders.lora import merge_adapter
    except ImportError as error:
        raise ConfigError(f"the adapter '{adapter}' needs the extra: pip install 'realuid[lora]'.") from error
    merge_adapter(network, adapter)


def _realuid(path: Path, request: Request) -> MatchingModel | Student:
    if request.key is not None:
        raise CheckpointError(f"key = {request.key}, but a model folder of realuid holds one set of weights.")
    return from_pretrained(model_folder(path), request.network)


def _safetensors(path: Path, request: Request) -> MatchingModel | Student:
    if request.key is not None:
        raise CheckpointError(f"key = {request.key}, but a safetensors file of realuid holds one set of weights.")
    return load_single_file(path, request.network)


def _diffusers(path: Path, request: Request) -> MatchingModel:
    return load_diffusers(path, request.key, request.size)


def _edm(path: Path, request: Request) -> MatchingModel | Student:
    if request.kind is None:
        raise CheckpointError(
            f"'{path}' may be a teacher (EDM) or a one-step generator (SiD): their files look alike. Say which: kind = "
            "'teacher' or 'generator'."
        )
    key = request.key or "ema"
    return load_edm_pickle(path, key) if request.kind == "teacher" else load_edm_student(path, key)


def _torchcfm(path: Path, request: Request) -> MatchingModel | Student:
    checkpoint = read_torch_file(path)
    teacher, student = torchcfm.looks_like_teacher(checkpoint), torchcfm.looks_like_student(checkpoint)
    if teacher and student:
        if request.kind is None:
            raise CheckpointError(
                f"'{path}' holds a teacher and a generator. Say which: kind = 'teacher' or 'generator'."
            )
        teacher = request.kind == "teacher"
    if teacher:
        return torchcfm.load_torchcfm(path, request.key, options=request.adm)
    if student:
        return torchcfm.load_torchcfm_student(path, request.key, options=request.adm)
    raise CheckpointError(f"'{path}' is a torch file, but {_what_instead(checkpoint)}")


def _what_instead(checkpoint: dict) -> str:
    """What a torch file that is not torchcfm's may be, and what to do about it."""
    if is_adm(checkpoint):
        return (
            "its weights stand alone: a velocity network of torchcfm and a noise network of guided-diffusion have the "
            "same names. If it is the former, save it as {'net_model': weights}; else see Teacher."
        )
    if isinstance(checkpoint.get("model"), dict):
        return (
            "not of torchcfm: an entry 'model' as many trainers write it, flow_matching's among them, which does not "
            "say of what network. Build the network, load these weights and pass it to Teacher "
            "(docs/guides/teachers.md)."
        )
    entries = ", ".join(str(name)[:30] for name in list(checkpoint)[:8])
    return f"not of torchcfm: it holds {entries}. Build the network, load its weights and pass it to Teacher."


LOADERS: dict[str, Callable[[Path, Request], MatchingModel | Student]] = {
    "realuid": _realuid,
    "safetensors": _safetensors,
    "diffusers": _diffusers,
    "edm": _edm,
    "torchcfm": _torchcfm,
}
